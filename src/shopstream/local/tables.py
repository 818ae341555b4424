"""The tables on one machine: RocksDB, keyed as DynamoDB is.

A key is one byte for the table, the partition key, NUL, the sort key. RocksDB's own write-ahead
log is written but not synced at each batch: after a kill nothing is missing, after a power cut
the tables are a consistent prefix and the log, which is synced, brings the rest.
Small write buffers on purpose: 16 MiB ones are reused and stay in cache (1.2 microseconds an
event against 3.8 with 128 MiB).
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBPath,
    Options,
    Rdict,
    ReadOptions,
    WriteBatch,
    WriteOptions,
)

from shopstream.errors import Busy, DataDirError
from shopstream.heartbeats import process_exists
from shopstream.local.datadir import make_folder
from shopstream.ports import Batch

MIB = 1024 * 1024
_CONFIG = "rocksdict-config.json"
_HELD = ("IO error: While lock file: ", "IO error: lock hold by current process")
"""How RocksDB begins to say that another process, or this one, has the tables open."""

# Never reuse a code: it is part of every stored key.
_CODES: dict[str, bytes] = {
    "state": b"\x01",
    "ledger": b"\x02",
    "users": b"\x03",
    "browsing_events": b"\x10",
    "stock_levels": b"\x12",
    "offers": b"\x20",
    "orders": b"\x21",
    "products": b"\x23",
    "timers": b"\x30",
    "budgets": b"\x31",
    "alerts": b"\x40",
    "alert_feed": b"\x41",
    "archive_feed": b"\x42",
    "quarantine": b"\x50",
    "expiry": b"\x60",
    "archive": b"\x61",  # no items: what its expiry lists name are files of the lake
}


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(16 * MIB)
    options.set_max_write_buffer_number(4)
    options.set_max_background_jobs(2)
    # A compaction from level 0 writes nearly all of the next level anew, so it takes many files at
    # a time: 16 for 8 saves two processes on two cores an eighth of their time.
    options.set_level_zero_file_num_compaction_trigger(16)
    options.set_level_zero_slowdown_writes_trigger(32)
    options.set_level_zero_stop_writes_trigger(48)
    options.set_level_compaction_dynamic_level_bytes(True)
    options.set_max_bytes_for_level_base(256 * MIB)
    options.set_target_file_size_base(64 * MIB)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_bottommost_compression_type(DBCompressionType.zstd())
    options.set_allow_concurrent_memtable_write(False)
    options.set_max_total_wal_size(256 * MIB)
    options.set_keep_log_file_num(4)
    options.set_max_log_file_size(4 * MIB)
    blocks = BlockBasedOptions()
    blocks.set_bloom_filter(10, False)
    blocks.set_block_cache(Cache(128 * MIB))
    blocks.set_cache_index_and_filter_blocks(True)
    options.set_block_based_table_factory(blocks)
    return options


def _reader_folder(readers: Path) -> Path:
    """A folder for what a reader notes down; those of readers that were killed are removed.

    One who may only read the data directory has it among the system's temporary files.
    """
    try:
        readers.mkdir(exist_ok=True)
        return _own_folder(readers, "")
    except OSError as e:
        if e.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return _own_folder(Path(tempfile.gettempdir()), "shopstream-reader-")


def _name_files(folder: Path, names: Path) -> None:
    """Have in `names` what a reader looks up by name in `folder`; all else it is told the place of.

    rocksdict writes its configuration to the folder that it opens, even for reading.
    """
    names.mkdir(exist_ok=True)
    if not (names / _CONFIG).exists():
        shutil.copyfile(folder / _CONFIG, names / _CONFIG)
    for path in (folder / "CURRENT", *folder.glob("MANIFEST-*")):
        if not (names / path.name).is_symlink():
            (names / path.name).symlink_to(path.absolute())


def _own_folder(place: Path, prefix: str) -> Path:
    for left in place.glob(f"{prefix}*"):
        pid = left.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not process_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place))


@contextmanager
def _translated() -> Iterator[None]:
    """RocksDB raises bare exceptions: a full or failing disk, as ours."""
    try:
        yield
    except Exception as e:
        raise DataDirError(f"the tables can't be written: {e}") from e


class RocksBatch:
    """`ports.Batch` over a RocksDB write batch."""

    __slots__ = ("_delete", "_put", "writes")

    def __init__(self) -> None:
        self.writes = WriteBatch(raw_mode=True)
        self._put = self.writes.put
        self._delete = self.writes.delete

    def put(self, table: str, pk: str, sk: str, item: bytes) -> None:
        self._put(_CODES[table] + f"{pk}\0{sk}".encode(), item)

    def put_each(self, table: str, sk: str, items: Iterable[tuple[str, bytes]]) -> None:
        put, code, end = self._put, _CODES[table], f"\0{sk}".encode()
        for pk, item in items:
            put(code + pk.encode() + end, item)

    def delete(self, table: str, pk: str, sk: str) -> None:
        self._delete(_CODES[table] + f"{pk}\0{sk}".encode())


class RocksTables:
    """`ports.Items` in a folder. Opening it makes this process its one writer (else Busy)."""

    _names: Path | None = None

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._folder = folder
        self._secondary: Path | None = None
        try:
            self._db = Rdict(str(folder), _options())
        except Exception as e:
            if str(e).startswith(_HELD):
                raise Busy(f"another process writes the tables in {folder}") from None
            raise DataDirError(f"the tables in {folder} can't be opened: {e}") from e
        self._write_options = WriteOptions()

    @staticmethod
    def are_in(folder: Path) -> bool:
        """Whether somebody has made tables in this folder."""
        return (folder / "CURRENT").exists()

    @classmethod
    def reader(cls, folder: Path) -> "RocksTables":
        """The tables as any other process may read them while they are written.

        `refresh` catches up with the writer (1 to 4 ms).
        """
        tables = cls.__new__(cls)
        if not cls.are_in(folder):
            raise DataDirError(f"there are no tables in {folder} yet; run `shopstream up` first")
        tables._folder = folder
        tables._secondary = _reader_folder(folder.parent / "readers")
        options = _options()
        try:
            if not os.access(folder / _CONFIG, os.W_OK):
                tables._names = tables._secondary / "names"
                _name_files(folder, tables._names)
                options.set_wal_dir(str(folder.absolute()))
                options.set_db_paths([DBPath(str(folder.absolute()), 0)])
            tables._db = Rdict(
                str(tables._names or folder),
                options,
                access_type=AccessType.secondary(str(tables._secondary / "notes")),
            )
            tables.refresh()
        except Exception as e:
            shutil.rmtree(tables._secondary, ignore_errors=True)
            raise DataDirError(f"the tables in {folder} can't be read: {e}") from e
        return tables

    def get(self, table: str, pk: str, sk: str = "") -> bytes | None:
        try:
            found: bytes | None = self._db.get(_CODES[table] + f"{pk}\0{sk}".encode())
        except Exception as e:
            raise DataDirError(f"the tables can't be read: {e}") from e
        return found

    def query(
        self,
        table: str,
        pk: str,
        *,
        after: str = "",
        before: str = "",
        reverse: bool = False,
        limit: int = 0,
    ) -> Iterator[tuple[str, bytes]]:
        partition = _CODES[table] + pk.encode() + b"\0"
        low = partition + after.encode()
        high = partition + before.encode() if before else partition[:-1] + b"\x01"
        start = len(partition)
        for n, (key, item) in enumerate(self._between(low, high, reverse), 1):
            yield key[start:].decode(), item
            if n == limit:
                return

    def scan(self, table: str) -> Iterator[tuple[str, str, bytes]]:
        code = _CODES[table]
        for key, item in self._between(code, bytes([code[0] + 1]), reverse=False):
            pk, _, sk = key[1:].partition(b"\0")
            yield pk.decode(), sk.decode(), item

    def _between(self, low: bytes, high: bytes, reverse: bool) -> Iterator[tuple[bytes, bytes]]:
        options = ReadOptions()
        options.set_iterate_lower_bound(low)
        options.set_iterate_upper_bound(high)
        found = self._db.iter(options)
        if reverse:
            found.seek_to_last()
        else:
            found.seek(low)
        step = found.prev if reverse else found.next
        while found.valid():
            key = found.key()
            if key < low:
                return  # going backwards, the iterator doesn't keep to its lower bound
            yield key, found.value()
            step()
        try:
            found.status()  # a block that can't be read ends an iterator like the last key does
        except Exception as e:
            raise DataDirError(f"the tables can't be read: {e}") from e

    def batch(self) -> RocksBatch:
        return RocksBatch()

    def write(self, batch: Batch) -> None:
        if not isinstance(batch, RocksBatch):
            raise TypeError(f"not a batch of these tables: {batch!r}")
        if self._secondary is not None:
            raise Busy("these tables were opened for reading; another process writes them")
        with _translated():
            self._db.write(batch.writes, self._write_options)

    def put_new(self, table: str, pk: str, sk: str, item: bytes) -> bytes | None:
        found = self.get(table, pk, sk)
        if found is None:
            self._put(table, pk, sk, item)
        return found

    def swap(self, table: str, pk: str, sk: str, was: bytes, item: bytes) -> bool:
        found = self.get(table, pk, sk)
        if found == was:
            self._put(table, pk, sk, item)
        return found in (was, item)

    def _put(self, table: str, pk: str, sk: str, item: bytes) -> None:
        # There is one writer, so nothing can have changed meanwhile.
        batch = self.batch()
        batch.put(table, pk, sk, item)
        self.write(batch)

    def sync(self) -> None:
        with _translated():
            self._db.flush_wal(True)

    def refresh(self) -> None:
        if self._secondary is not None:
            if self._names is not None:
                _name_files(self._folder, self._names)
            self._db.try_catch_up_with_primary()

    def close(self) -> None:
        self._db.close()
        if self._secondary is not None:
            shutil.rmtree(self._secondary, ignore_errors=True)
