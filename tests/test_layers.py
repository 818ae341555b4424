"""Who may import whom. The rules are in docs/architecture.md."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "shopstream"
MODULES = {
    ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}

PURE_LIBRARIES = {"msgspec"}
IMPURE_STANDARD = {
    *("asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random"),
    *("secrets", "shutil", "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading"),
    *("time", "urllib.request", "uuid"),
}
ENGINES = ("shopstream.local", "shopstream.aws")
# The engine is picked in one place; naming one of its classes as a type is no choice.
KNOWS_AN_ENGINE = {"shopstream.engine", "shopstream.processor", "shopstream.aws.handlers"}
HEAVY = ("pyarrow", "duckdb", "boto3")


def nodes_of(module: str, *, types: bool) -> Iterator[ast.AST]:
    """All nodes of the module's text; without `types` not those under `if TYPE_CHECKING`."""
    waiting: list[ast.AST] = [ast.parse(MODULES[module].read_text("utf-8"))]
    while waiting:
        node = waiting.pop()
        yield node
        only_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if types or not only_types:
            waiting += ast.iter_child_nodes(node)


def imports_of(module: str, *, types: bool = True) -> Iterator[str]:
    """Every module that `module` imports anywhere in its text, by full name."""
    for node in nodes_of(module, types=types):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} uses a relative import"
            found = node.module or ""
            for alias in node.names:
                inner = f"{found}.{alias.name}"
                yield inner if inner in MODULES else found


def in_layer(module: str, *layers: str) -> bool:
    return any(module == layer or module.startswith(f"{layer}.") for layer in layers)


def ours(module: str, *, types: bool = True) -> set[str]:
    return {name for name in imports_of(module, types=types) if in_layer(name, "shopstream")}


def modules_in(*layers: str) -> list[str]:
    return [module for module in MODULES if in_layer(module, *layers)]


@pytest.mark.parametrize("module", modules_in("shopstream.domain"))
def test_domain_imports_only_events_errors_and_pure_libraries(module: str) -> None:
    allowed = ("shopstream.domain", "shopstream.events", "shopstream.errors")
    assert not {name for name in ours(module) if not in_layer(name, *allowed)}
    others = {name for name in imports_of(module) if not in_layer(name, "shopstream")}
    assert not {name for name in others if in_layer(name, *IMPURE_STANDARD)}
    assert {name.partition(".")[0] for name in others} - sys.stdlib_module_names <= PURE_LIBRARIES


@pytest.mark.parametrize("module", modules_in("shopstream.domain"))
def test_domain_asks_no_clock(module: str) -> None:
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("now", "utcnow", "today"), f"line {node.lineno}"


@pytest.mark.parametrize("module", modules_in("shopstream.flows"))
def test_flows_import_only_events_errors_domain_and_ports(module: str) -> None:
    allowed = ("flows", "events", "errors", "domain", "ports")
    layers = [f"shopstream.{name}" for name in allowed]
    assert not {name for name in ours(module) if not in_layer(name, *layers)}


@pytest.mark.parametrize("module", list(MODULES))
def test_an_engine_is_picked_in_one_place_and_knows_no_other(module: str) -> None:
    used = {name for name in ours(module, types=False) if in_layer(name, *ENGINES)}
    if in_layer(module, *ENGINES):
        own = ".".join(module.split(".")[:2])
        assert not {name for name in used if not in_layer(name, own)}
    elif module not in KNOWS_AN_ENGINE:
        assert not used


@pytest.mark.parametrize("module", list(MODULES))
def test_only_settings_read_the_environment(module: str) -> None:
    if module == "shopstream.settings":
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Attribute):
            assert node.attr not in ("environ", "environb", "getenv"), f"line {node.lineno}"


@pytest.mark.parametrize("module", list(MODULES))
def test_only_the_command_line_prints(module: str) -> None:
    if in_layer(module, "shopstream.cli", "shopstream.stopping"):  # it flushes what was said
        return
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "input"), f"line {node.lineno}"
        if isinstance(node, ast.Attribute) and node.attr in ("stdout", "stderr"):
            assert not (isinstance(node.value, ast.Name) and node.value.id == "sys"), node.lineno


@pytest.mark.parametrize("module", ["collector.server", "processor", "notify", "aws.handlers"])
def test_a_stage_starts_without_the_heavy_libraries(module: str) -> None:
    program = f"import sys, shopstream.{module}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    assert not loaded & set(HEAVY)


def test_these_rules_see_the_whole_package() -> None:
    assert {"shopstream", "shopstream.domain", "shopstream.settings"} <= set(MODULES)
    assert "shopstream.errors" in ours("shopstream.settings")
