"""The files that DuckDB reads tables from."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

from shopstream.ask.files import DataFile


def test_threads_that_share_a_file_each_read_where_they_went(tmp_path: Path) -> None:
    path = tmp_path / "file"
    numbers = 200_000
    path.write_bytes(b"".join(n.to_bytes(8, "big") for n in range(numbers)))
    file = DataFile(path)

    def wrong(seed: int) -> int:
        random, found = Random(seed), 0
        for _ in range(3_000):
            at = random.randrange(numbers)
            file.seek(at * 8)
            found += file.read(8) != at.to_bytes(8, "big")
        return found

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(wrong, range(4))) == [0, 0, 0, 0]
    file.close()


def test_a_file_is_read_to_its_end_and_no_further(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    file = DataFile(path)
    assert (file.seek(-3, 2), file.read(), file.read(5), file.tell()) == (7, b"789", b"", 10)
    assert (file.seek(2), file.read(3), file.tell()) == (2, b"234", 5)
    file.close()
