"""A Trino server of its own in a folder, with Iceberg tables and bronze as external tables."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from tests.models.engines.lakes import Lake

from shopstream.lake.dialect import compile_source, quoted, type_of
from shopstream.lake.model import Source

START_S_MAX = 120
_CATALOGS = {
    # As Athena does, Trino reads the lander's files where they lie, by the OpenX reader of JSON.
    "hive": "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=local://{root}/hive\n"
    "hive.timestamp-precision=MICROSECONDS\nfs.native-local.enabled=true\nlocal.location=/\n",
    "iceberg": "connector.name=iceberg\niceberg.catalog.type=TESTING_FILE_METASTORE\n"
    "hive.metastore.catalog.dir=local://{root}/iceberg\nfs.native-local.enabled=true\n"
    "local.location=/\n",
    "memory": "connector.name=memory\n",
}
_JVM = (
    "-Xmx3G -XX:+UseSerialGC -XX:TieredStopAtLevel=1 --add-modules=jdk.incubator.vector"
    " --enable-native-access=ALL-UNNAMED -Djdk.attach.allowAttachSelf=true -Duser.timezone=UTC"
)


class Trino:
    """Speaks to a server; SQL in, rows out."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(
            base_url=url, headers={"X-Trino-User": "test", "X-Trino-Time-Zone": "UTC"}, timeout=120
        )

    def close(self) -> None:
        self._http.close()

    def run(self, sql: str) -> list[dict[str, Any]]:
        """The rows of a statement. Raises AssertionError with what Trino says is wrong with it."""
        ends = time.monotonic() + START_S_MAX
        while True:
            said = self._http.post("/v1/statement", content=sql.encode()).json()
            rows: list[list[Any]] = []
            names: list[str] = []
            while "error" not in said:
                names = [column["name"] for column in said.get("columns", ())] or names
                rows += said.get("data", ())
                if "nextUri" not in said:
                    return [dict(zip(names, row, strict=True)) for row in rows]
                said = self._http.get(said["nextUri"]).json()
            # A server that has just started, on a busy machine, does not know itself as a worker
            # at once and for a while forgets it. It has done nothing of the statement then.
            away = said["error"]["errorName"] == "NO_NODES_AVAILABLE" and time.monotonic() < ends
            assert away, f"{said['error']['message']}\n{sql}"
            time.sleep(0.5)

    def started(self) -> bool:
        try:
            return self._http.get("/v1/info").json()["starting"] is False
        except httpx.TransportError:
            return False

    def make_source(self, schema: str, source: Source, lake: Lake) -> None:
        """Make a source's table: of its files, which are read where they lie."""
        raw = f"{schema}.raw_{source.name}"
        types = {name: type_of(kind, "trino") for name, kind in source.raw.items()}
        # Text with a zone is no timestamp to the reader; what it is made of it is told below.
        read_as = {
            n: "VARCHAR" if kind.startswith("TIMESTAMP") else kind for n, kind in types.items()
        }
        columns = [f"{quoted(name, 'trino')} {kind}" for name, kind in read_as.items()]
        folder, parts = _place(source, lake)
        columns += [f"{part} VARCHAR" for part in parts]
        split = f", partitioned_by = ARRAY{list(parts)}" if parts else ""
        folder.mkdir(parents=True, exist_ok=True)
        self.run(
            f"CREATE TABLE hive.{raw} ({', '.join(columns)})"
            f" WITH (format = 'OPENX_JSON', external_location = 'local://{folder}'{split})"
        )
        if parts:
            namespace, table = raw.split(".")
            self.run(f"CALL hive.system.sync_partition_metadata('{namespace}', '{table}', 'FULL')")
        typed = ", ".join(
            f"{_typed(name, kind)} AS {quoted(name, 'trino')}" for name, kind in types.items()
        )
        made = compile_source(source, "trino", f"(SELECT {typed} FROM hive.{raw}) AS read")
        self.run(f"CREATE TABLE iceberg.{schema}.{source.name} AS {made}")

    def files(self, schema: str, table: str) -> list[str]:
        """The data files of an Iceberg table."""
        rows = self.run(f'SELECT file_path FROM iceberg.{schema}."{table}$files"')
        return [row["file_path"].removeprefix("local://") for row in rows]


def _typed(name: str, kind: str) -> str:
    column = quoted(name, "trino")
    if not kind.startswith("TIMESTAMP"):
        return column
    return f"CAST(from_iso8601_timestamp_nanos({column}) AT TIME ZONE 'UTC' AS {kind})"


def _place(source: Source, lake: Lake) -> tuple[Path, tuple[str, ...]]:
    if source.tally:
        return lake.tally.parent, ()
    if source.archive:
        return lake.root / "archive" / "offers", ("dt",)
    return lake.root / "bronze" / str(source.topic), ("dt", "hour")


@contextmanager
def run_trino(home: Path, java: Path, root: Path) -> Iterator[Trino]:
    """A server that runs while the context does; `root` is its own empty folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    _configure(home, root, url, port)
    env = os.environ | {"JAVA_HOME": str(java), "PATH": f"{java}/bin:{os.environ['PATH']}"}
    command = [str(home / "bin" / "launcher"), "run", "--etc-dir", str(root / "etc")]
    with (root / "out.log").open("w") as out:
        process = subprocess.Popen(command, env=env, stdout=out, stderr=out)
        server = Trino(url)
        try:
            ends = time.monotonic() + START_S_MAX
            while not server.started():
                said = (root / "out.log").read_text("utf-8")[-2000:]
                assert process.poll() is None, said
                assert time.monotonic() < ends, said
                time.sleep(0.5)
            yield server
        finally:
            server.close()
            process.kill()  # it keeps nothing that is wanted
            process.wait()


def _configure(home: Path, root: Path, url: str, port: int) -> None:
    etc = root / "etc"
    (etc / "catalog").mkdir(parents=True)
    (root / "plugin").mkdir()
    for name, text in _CATALOGS.items():
        (etc / "catalog" / f"{name}.properties").write_text(text.format(root=root), "utf-8")
        # Only these are loaded, of seventy.
        (root / "plugin" / name).symlink_to(home / "plugin" / name)
    (etc / "config.properties").write_text(
        "coordinator=true\nnode-scheduler.include-coordinator=true\n"
        f"http-server.http.port={port}\ndiscovery.uri={url}\nplugin.dir={root}/plugin\n"
        "query.max-memory=1GB\nquery.max-memory-per-node=1GB\n",
        "utf-8",
    )
    (etc / "node.properties").write_text(
        f"node.environment=test\nnode.internal-address=127.0.0.1\nnode.data-dir={root}/data\n",
        "utf-8",
    )
    (etc / "jvm.config").write_text(_JVM.replace(" ", "\n") + "\n", "utf-8")
    (etc / "log.properties").write_text("io.trino=WARN\n", "utf-8")
