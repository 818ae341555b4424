"""The zip that Lambda runs: the modules that handlers need, their libraries, and nothing else.

The same release makes the same bytes: names are sorted, times fixed, modes normal, libraries come
by their hashes. Bytecode is put in where this Python is the one that will run it, as Lambda can't
keep any: without it every cold start compiles the source again (1.2 s instead of 0.3 s).
"""

import ast
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Container, Mapping
from hashlib import sha256
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple, TypeAlias

from shopstream.errors import ConfigError, SourceError

Arch: TypeAlias = Literal["arm64", "x86_64"]
ARCHS: tuple[Arch, ...] = ("arm64", "x86_64")
PYTHONS = ("3.11", "3.12", "3.13")
"""Lambda's runtimes that the package runs on."""
ZIP_BYTES_MAX = 15 * 1024 * 1024
ENTRY_MODULE = "shopstream.aws.handlers"
LOCK = "aws/requirements-lambda.lock"
SERVICES = ("athena", "dynamodb", "firehose", "kinesis", "s3", "sns", "sqs", "sts", "xray")
"""AWS's services that handlers call: botocore's descriptions of all others stay out."""
ELSEWHERE = (
    *("shopstream.local", "shopstream.ask", "shopstream.cli", "shopstream.engine"),
    *("shopstream.simulator", "shopstream.collector.server"),
)
"""What a handler never loads, though a module that it loads has a way there."""
GLUE_LIBRARIES = ("msgspec", "pyyaml", "sqlglot", "zstandard")
DATA = ("domain/default_rules.toml", "mappings/carts_csv.toml")

_MACHINE = {"arm64": "aarch64", "x86_64": "x86_64"}
# Python 3.11 runs on Amazon Linux 2 (glibc 2.26), later ones on Amazon Linux 2023 (glibc 2.34).
_LINUX = {"3.11": ("2_17",), "3.12": ("2_17", "2_28", "2_34"), "3.13": ("2_17", "2_28", "2_34")}
_NO_RUNTIME_USE = re.compile(
    r"\.pyi$|\.[ch]$|/py\.typed$|/tests?/|^bin/|\.dist-info/(RECORD|WHEEL|INSTALLER|REQUESTED)$"
    r"|^aws_lambda_powertools/event_handler/openapi/swagger_ui/|^dateutil/zoneinfo/.*\.gz$"
)
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_FILE_MODE = 0o100644 << 16
_UNIX = 3

Files: TypeAlias = dict[str, bytes]
"""Names inside the zip -> contents."""


class Package(NamedTuple):
    """A zip as it was built. `bytecode` tells whether a cold start is spared compiling."""

    path: Path
    size_bytes: int
    sha256: str
    bytecode: bool


def build_lambda(path: Path, *, arch: Arch, python: str) -> Package:
    """Build the zip for Lambda's runtime `python` on `arch` at `path`, whole or not at all.

    Raises ConfigError for a target that there isn't, SourceError when libraries can't be had.
    """
    if arch not in ARCHS or python not in PYTHONS:
        raise ConfigError(
            f"package: {arch} with Python {python} is none of {', '.join(ARCHS)} with"
            f" {', '.join(PYTHONS)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        files = _libraries(Path(folder), arch, python)
        files |= our_files({name.partition("/")[0].removesuffix(".py") for name in files})
        bytecode = python == f"{sys.version_info.major}.{sys.version_info.minor}"
        if bytecode:
            files |= _compiled(files, Path(folder) / "sources")
    body_path = path.with_name(f".{path.name}.unfinished")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(files, body_path)
    size = body_path.stat().st_size
    if size > ZIP_BYTES_MAX:
        body_path.unlink()
        raise ConfigError(f"package: {size:,} bytes are more than {ZIP_BYTES_MAX:,}")
    digest = sha256(body_path.read_bytes()).hexdigest()
    body_path.replace(path)
    return Package(path, size, digest, bytecode)


def build_glue(path: Path) -> Package:
    """Build the zip that the Glue job finds this package in, whole or not at all. What else it
    needs, Glue installs: see `glue_libraries`.
    """
    root = _source()
    names = [f"{name}.py" for name in ("__init__", "errors", "events", "settings")]
    paths = [root / name for name in names] + sorted((root / "domain").glob("*.py"))
    lake = (root / "lake").rglob("*")
    paths += sorted(p for p in lake if p.suffix in (".py", ".sql", ".yml"))
    body_path = path.with_name(f".{path.name}.unfinished")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write({_name(found): found.read_bytes() for found in paths}, body_path)
    size, digest = body_path.stat().st_size, sha256(body_path.read_bytes()).hexdigest()
    body_path.replace(path)
    return Package(path, size, digest, bytecode=False)


def glue_libraries() -> list[str]:
    """What the Glue job has to install, with the versions that are tested."""
    return [f"{name}=={version(name)}" for name in GLUE_LIBRARIES]


def our_files(libraries: Container[str]) -> Files:
    """What of this package goes in: modules that handlers can come to, and their data."""
    from shopstream.lake.compiled import compile_lake, encode

    root = _source()
    found = {_name(path): path.read_bytes() for path in our_modules(libraries).values()}
    found |= {f"shopstream/{name}": (root / name).read_bytes() for name in DATA}
    found["shopstream/lake/compiled.json"] = encode(compile_lake())
    release = version("shopstream")
    about = f"Metadata-Version: 2.1\nName: shopstream\nVersion: {release}\n"
    found[f"shopstream-{release}.dist-info/METADATA"] = about.encode()
    return found


def our_modules(libraries: Container[str]) -> Mapping[str, Path]:
    """Modules of this package that a handler imports, at once or when it needs them, and that can
    be imported with `libraries` (names of packages) alone.

    Raises ConfigError when a handler can't be: it names what is missing.
    """
    source = _Source(libraries)
    at_once, later = source.imports(ENTRY_MODULE)
    for module in at_once | later:
        if missing := source.missing(module):
            raise ConfigError(f"package: {module} needs {missing}, which is not in the zip")
    found: dict[str, Path] = {}
    waiting = [ENTRY_MODULE]
    while waiting:
        module = waiting.pop()
        path = _module_path(module)
        if module in found or path is None or source.missing(module):
            continue
        found[module] = path
        waiting.append(module.rpartition(".")[0] or "shopstream")
        at_once, later = source.imports(module)
        # What the package itself offers to notebooks is no handler's business.
        waiting += at_once if module == "shopstream" else at_once | later
    return found


class _Source:
    """What modules import, and whether that can be had in the zip."""

    def __init__(self, libraries: Container[str]) -> None:
        self._libraries = libraries
        self._missing: dict[str, str] = {}
        self._imports: dict[str, tuple[set[str], set[str]]] = {}

    def imports(self, module: str) -> tuple[set[str], set[str]]:
        """What it imports at once, and what its functions do when they are called."""
        if module not in self._imports:
            path = _module_path(module)
            self._imports[module] = _imports(path) if path else (set(), set())
        return self._imports[module]

    def missing(self, module: str) -> str:
        """What keeps a module from being imported, "" when nothing does."""
        if module not in self._missing:
            self._missing[module] = ""  # so that a circle of imports ends
            self._missing[module] = self._look(module)
        return self._missing[module]

    def _look(self, module: str) -> str:
        top = module.partition(".")[0]
        if top != "shopstream":
            known = top in sys.stdlib_module_names or top in self._libraries
            return "" if known else top
        if _elsewhere(module):
            return module
        at_once, _ = self.imports(module)
        return next((what for name in sorted(at_once) if (what := self.missing(name))), "")


def _elsewhere(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in ELSEWHERE)


def _imports(path: Path) -> tuple[set[str], set[str]]:
    """What a module imports at once, and what its functions do when they are called."""
    at_once: set[str] = set()
    later: set[str] = set()
    waiting: list[tuple[ast.AST, set[str]]] = [(ast.parse(path.read_bytes()), at_once)]
    while waiting:
        node, found = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found = later
        waiting += [(child, found) for child in ast.iter_child_nodes(node)]
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return at_once, later


def _module_path(module: str) -> Path | None:
    package, *rest = module.split(".")
    if package != "shopstream":
        return None
    path = _source().joinpath(*rest)
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def _source() -> Path:
    return Path(__file__).parent


def _name(path: Path) -> str:
    return PurePosixPath("shopstream", path.relative_to(_source())).as_posix()


def _libraries(folder: Path, arch: Arch, python: str) -> Files:
    wheels = folder / "wheels"
    _download(wheels, arch, python)
    found: Files = {}
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as packed:
            for name in packed.namelist():
                if not name.endswith("/") and _wanted(name):
                    found[name] = packed.read(name)
    return found


def _wanted(name: str) -> bool:
    if _NO_RUNTIME_USE.search(name):
        return False
    package, _, inside = name.partition("/data/")
    folder = inside.partition("/")
    return package not in ("botocore", "boto3") or not folder[2] or folder[0] in SERVICES


def _download(wheels: Path, arch: Arch, python: str) -> None:
    if find_spec("pip") is None:
        raise ConfigError(
            "package: libraries are fetched with pip, which this Python hasn't;"
            " install it: python -m ensurepip"
        )
    platforms = [f"manylinux_{glibc}_{_MACHINE[arch]}" for glibc in _LINUX[python]]
    platforms.append(f"manylinux2014_{_MACHINE[arch]}")
    tag = f"cp{python.replace('.', '')}"
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--require-hashes", "--only-binary", ":all:", "--implementation", "cp"),
        *("--python-version", python, "--abi", tag, "--abi", "abi3", "--abi", "none"),
        *(part for platform in platforms for part in ("--platform", platform)),
        *("--dest", str(wheels), "--requirement", str(_source() / LOCK)),
    ]
    run = subprocess.run(  # noqa: S603  # our own command
        command, capture_output=True, text=True, check=False
    )
    if run.returncode:
        told = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        why = told[-1].removeprefix("ERROR: ") if told else f"pip ended with {run.returncode}"
        raise SourceError(
            f"package: the libraries for Python {python} on {arch} can't be had: {why};"
            " a package index must be reachable (pip's settings say which)"
        )


_COMPILE = """
import py_compile, sys
from pathlib import Path
unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
tag = sys.implementation.cache_tag
for name in map(Path, sys.stdin.read().splitlines()):
    into = name.parent / "__pycache__" / f"{name.stem}.{tag}.pyc"
    py_compile.compile(str(name), str(into), str(name), doraise=True, invalidation_mode=unchecked)
"""


def _compiled(files: Files, folder: Path) -> Files:
    """Bytecode of all modules, which is taken as it is and never compared with its source.

    In a process of its own with fixed hashes of strings: sets in it would else have any order.
    """
    names = sorted(name for name in files if name.endswith(".py"))
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-P", "-S", "-W", "ignore", "-c", _COMPILE],
        input="\n".join(names),
        text=True,
        cwd=folder,
        env={"PYTHONHASHSEED": "0"},
        check=True,
    )
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.pyc"))
    }


def _write(files: Files, path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for name, body in sorted(files.items()):
            info = zipfile.ZipInfo(name, _FIXED_TIME)
            info.create_system = _UNIX
            info.external_attr = _FILE_MODE
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, body, compresslevel=9)
