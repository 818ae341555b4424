"""`shopstream package lambda`: what is in the zip, that it is always the same, how it starts."""

import fcntl
import os
import re
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from shopstream import packaging
from shopstream.aws.names import FUNCTIONS
from shopstream.errors import ConfigError, SourceError
from shopstream.packaging import Package, build_lambda, our_modules

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
IMPORT_MS_MAX = 300
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The zip for this Python on x86_64, built once for all workers of a run."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    path = folder / "lambda.zip"
    with (folder / "lambda.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            return build(path)
    body = path.read_bytes()
    return Package(path, len(body), sha256(body).hexdigest(), bytecode=True)


def build(path: Path) -> Package:
    try:
        return build_lambda(path, arch="x86_64", python=PYTHON)
    except SourceError as e:
        pytest.skip(str(e))


@pytest.fixture(scope="module")
def names(package: Package) -> list[str]:
    with zipfile.ZipFile(package.path) as packed:
        return packed.namelist()


@pytest.fixture(scope="module")
def unpacked(package: Package, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(package.path) as packed:
        packed.extractall(folder)
    return folder


def run_in(folder: Path, program: str, **environ: str) -> str:
    """What a program prints whose only libraries are those of the zip, unpacked."""
    start = f"import sys; sys.path.insert(0, {str(folder)!r})\n"
    run = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", start + program],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="the zip is for Linux")
def test_the_same_release_makes_the_same_bytes(package: Package, tmp_path: Path) -> None:
    again = build(tmp_path / "again.zip")
    assert again.sha256 == package.sha256
    assert again.path.read_bytes() == package.path.read_bytes()


def test_names_are_sorted_times_fixed_and_modes_normal(package: Package) -> None:
    with zipfile.ZipFile(package.path) as packed:
        infos = packed.infolist()
    assert [info.filename for info in infos] == sorted(info.filename for info in infos)
    assert {info.date_time for info in infos} == {(1980, 1, 1, 0, 0, 0)}
    assert {info.external_attr >> 16 for info in infos} == {0o100644}


def test_it_is_small_and_holds_only_what_handlers_need(package: Package, names: list[str]) -> None:
    assert package.size_bytes < 15 * 1024 * 1024
    tops = {name.partition("/")[0] for name in names}
    assert not tops & {"pyarrow", "duckdb", "rocksdict", "apsw", "pyiceberg", "sqlglot", "uvicorn"}
    ours = {".".join(Path(name).parts[:2]) for name in names if name.startswith("shopstream/")}
    assert not ours & {"shopstream.local", "shopstream.cli", "shopstream.ask"}
    services = {name.split("/")[2] for name in names if re.match(r"botocore/data/[a-z0-9]+/", name)}
    assert services == set(packaging.SERVICES)


def test_each_module_has_its_bytecode_where_this_python_runs_it(names: list[str]) -> None:
    tag = sys.implementation.cache_tag
    for name in names:
        if name.endswith(".py"):
            path = Path(name)
            assert (
                f"{path.parent.as_posix()}/__pycache__/{path.stem}.{tag}.pyc".removeprefix("./")
                in names
            )


@pytest.mark.parametrize("handler", sorted(FUNCTIONS))
def test_every_handler_can_be_had_from_the_zip_alone(unpacked: Path, handler: str) -> None:
    assert "True" in run_in(
        unpacked, f"from shopstream.aws import handlers; print(callable(handlers.{handler}))"
    )


def test_whatever_a_handler_needs_later_can_be_imported_from_the_zip_alone(
    unpacked: Path, names: list[str]
) -> None:
    modules = [
        ".".join(Path(name).with_suffix("").parts).removesuffix(".__init__")
        for name in names
        if name.startswith("shopstream/") and name.endswith(".py")
    ]
    program = f"import importlib\nfor name in {modules!r}: importlib.import_module(name)\n"
    run_in(unpacked, program + "print('all')")


def test_the_files_that_come_with_modules_are_found(unpacked: Path) -> None:
    program = (
        "import shopstream\n"
        "from shopstream.rules_file import default_rules\n"
        "from shopstream.lake.compiled import load_compiled\n"
        "from importlib.resources import files\n"
        "print(shopstream.__version__, len(default_rules().rules), bool(load_compiled()),"
        " files('shopstream.mappings').joinpath('carts_csv.toml').is_file())"
    )
    assert run_in(unpacked, program).split()[1:] == ["3", "True", "True"]


@pytest.mark.parametrize(
    "module",
    ["handlers", "alerting", "collector", "ingestor", "offers", "replay", "builder", "carts"],
)
def test_a_cold_start_imports_within_300_ms(unpacked: Path, module: str) -> None:
    """Time on the processor, a few tries: other tests run beside this one."""
    program = (
        "import time; began = time.process_time()\n"
        f"import shopstream.aws.{module}\n"
        "print(round((time.process_time() - began) * 1000))"
    )
    assert any(int(run_in(unpacked, program)) < IMPORT_MS_MAX for _ in range(5))


def test_functions_can_be_traced_from_the_zip_alone(unpacked: Path) -> None:
    program = (
        "from aws_lambda_powertools import Tracer\n"
        "Tracer(service='shopstream', patch_modules=['botocore'])\n"
        "print('aws_xray_sdk.ext.botocore' in sys.modules)"
    )
    environ = {"LAMBDA_TASK_ROOT": str(unpacked), "AWS_REGION": "eu-central-1"}
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    assert "True" in run_in(unpacked, program, **environ, **keys)


def test_clients_of_all_services_can_be_made_from_the_zip_alone(unpacked: Path) -> None:
    program = (
        "from shopstream.aws.clients import Clients\n"
        "clients = Clients(region='eu-central-1')\n"
        f"for name in {packaging.SERVICES!r}: print(clients._client(name).meta.service_model)"
    )
    keys = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    made = run_in(unpacked, program, **keys)
    assert made.splitlines() == [f"ServiceModel({name})" for name in packaging.SERVICES]


def test_modules_come_in_by_what_is_imported_and_can_be_loaded() -> None:
    libraries = {path.partition("==")[0].replace("-", "_") for path in locked()}
    found = our_modules(libraries | {"dateutil"})
    assert {"shopstream.aws.handlers", "shopstream.flows.records"} <= set(found)
    assert not [name for name in found if name.startswith("shopstream.local")]


def test_a_handler_whose_library_is_not_locked_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match="msgspec"):
        our_modules({"aws_lambda_powertools"})


def locked() -> list[str]:
    """The pins of the zip's lock: name==version."""
    text = (ROOT / "src" / "shopstream" / packaging.LOCK).read_text("utf-8")
    return re.findall(r"^[A-Za-z0-9_.-]+==[^ ]+", text, re.MULTILINE)


def test_the_zip_has_the_libraries_that_tests_run_with() -> None:
    with_tests = (ROOT / "requirements-dev.lock").read_text("utf-8")
    lock = (ROOT / "src" / "shopstream" / packaging.LOCK).read_text("utf-8")
    pins = re.split(r"(?m)^(?=[a-zA-Z0-9])", lock)
    assert len(pins) > 10
    assert [pin for pin in pins if pin not in with_tests] == []
    assert "://" not in lock


def test_without_a_package_index_it_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
        "PIP_FIND_LINKS": "",
        "PIP_EXTRA_INDEX_URL": "",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SourceError, match="a package index must be reachable"):
        build_lambda(tmp_path / "lambda.zip", arch="arm64", python="3.13")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("arch", "python"), [("riscv", "3.13"), ("arm64", "3.10")])
def test_a_target_that_lambda_has_not_is_an_error(tmp_path: Path, arch: str, python: str) -> None:
    with pytest.raises(ConfigError, match=r"3\.13"):
        build_lambda(tmp_path / "x.zip", arch=arch, python=python)  # type: ignore[arg-type]  # a wrong one is given
