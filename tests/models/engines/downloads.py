"""What the engines need from the Java package registry, kept in a folder outside of the repo.

The folder is `$SHOPSTREAM_TEST_CACHE`, else `shopstream-tests` in the user's cache folder. What
isn't there is fetched by `mvn` with whatever settings the machine has.
"""

import fcntl
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0"
TRINO = "io.trino:trino-server:476:tar.gz"
"""800 MB. Runs on JDK 24 and later."""
DYNAMODB_LOCAL = "com.amazonaws:DynamoDBLocal:2.6.0"
"""AWS's own, 60 MB with what it needs. Runs on JDK 17 and later."""
CACHE = Path(
    os.environ.get("SHOPSTREAM_TEST_CACHE")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "shopstream-tests"
)
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
_NEEDING = """<project><modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>tests</artifactId><version>1</version><dependencies>
<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>
</dependencies></project>"""


def iceberg_jar() -> Path:
    """Iceberg's runtime for Spark 3.5; skips the test where it can't be had."""
    with _alone():
        return _fetched(ICEBERG, timeout_s=180)


def trino_home() -> Path:
    """Trino's server, unpacked; skips the test where it can't be had.

    It is large: without `$SHOPSTREAM_TEST_TRINO` it is used when it is there and not fetched.
    """
    home = CACHE / "trino-server-476"
    with _alone():
        if not home.is_dir():
            packed = CACHE / _file_name(TRINO)
            if not packed.exists() and not os.environ.get("SHOPSTREAM_TEST_TRINO"):
                pytest.skip(f"Trino is not in {CACHE}; set SHOPSTREAM_TEST_TRINO=1 to fetch 800 MB")
            packed = _fetched(TRINO, timeout_s=300)
            unpacked = CACHE / "unpacking"
            shutil.rmtree(unpacked, ignore_errors=True)
            with tarfile.open(packed) as tar:
                tar.extractall(unpacked, filter="tar")
            (unpacked / home.name).rename(home)
            packed.unlink()
    return home


def dynamodb_local_home() -> Path:
    """A folder with DynamoDB Local and all that it needs; skips the test where it can't be had."""
    home = CACHE / _file_name(DYNAMODB_LOCAL).removesuffix(".jar")
    with _alone():
        if not home.is_dir():
            needing = CACHE / "in" / "needing-dynamodb"
            needing.mkdir(parents=True, exist_ok=True)
            (needing / "pom.xml").write_text(_NEEDING.format(*DYNAMODB_LOCAL.split(":")), "utf-8")
            options = ["-f", f"{needing}/pom.xml", "-DincludeScope=runtime"]
            _mvn(f"{_COPY}-dependencies", DYNAMODB_LOCAL, needing / "all", options, timeout_s=240)
            (needing / "all").rename(home)
    return home


def java_home(first: int, last: int) -> Path:
    """A JDK whose version is from `first` to `last`; skips the test where there is none."""
    places = [Path(os.environ["JAVA_HOME"])] if "JAVA_HOME" in os.environ else []
    places += sorted(Path("/usr/lib/jvm").glob("*"))
    for place in places:
        said = place / "release"
        if (place / "bin" / "java").exists() and said.is_file():
            version = said.read_text("utf-8").split('JAVA_VERSION="')[1].partition(".")[0]
            if first <= int(version.partition('"')[0]) <= last:
                return place
    pytest.skip(f"there is no JDK {first} to {last}: name one by JAVA_HOME")


def _fetched(artifact: str, timeout_s: float) -> Path:
    wanted = CACHE / _file_name(artifact)
    if wanted.exists():
        return wanted
    options = [f"-Dartifact={artifact}"]
    _mvn(_COPY, artifact, CACHE / "in", options, timeout_s=timeout_s)
    (CACHE / "in" / wanted.name).rename(wanted)
    return wanted


def _mvn(goal: str, artifact: str, into: Path, options: list[str], timeout_s: float) -> None:
    mvn = shutil.which("mvn")
    if mvn is None:
        pytest.skip(f"{artifact} is not in {CACHE} and there is no mvn to fetch it")
    command = [mvn, "-q", "-B", goal, f"-DoutputDirectory={into}", *options]
    try:
        subprocess.run(command, check=True, timeout=timeout_s, capture_output=True)
    except (subprocess.SubprocessError, OSError) as e:
        pytest.skip(f"{artifact} can't be fetched: {e}")


def _file_name(artifact: str) -> str:
    _, name, version, *kind = artifact.split(":")
    return f"{name}-{version}.{kind[0] if kind else 'jar'}"


@contextmanager
def _alone() -> Iterator[None]:
    """Tests run in several processes; one fetches."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
