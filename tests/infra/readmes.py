"""The READMEs of Terraform's modules, made from the modules: `python -m tests.infra.readmes`.

Each has what the comment at the head of `main.tf` says, the module's variables and outputs, and the
types of what it makes. A test fails when one drifts.
"""

import sys
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import hcl2
from tests.infra.terraform import ROOT

NOTE = "<!-- made by `make docs`; change the .tf files instead -->"


def modules(root: Path = ROOT) -> list[Path]:
    """The root module and the others."""
    return [root, *sorted(one for one in (root / "modules").iterdir() if one.is_dir())]


def readme(module: Path) -> str:
    """The text of a module's README."""
    files = {path.name: _read(path) for path in sorted(module.glob("*.tf"))}
    title = "shopstream on AWS" if module == ROOT else module.name
    parts = [f"# {title}\n", NOTE, "", *_head(module / "main.tf"), ""]
    parts += ["## Variables", "", *_variables(_blocks(files.values(), "variable")), ""]
    parts += ["## Outputs", "", *_outputs(_blocks(files.values(), "output")), ""]
    made = sorted({name for name, _ in _blocks(files.values(), "resource")})
    if made:
        parts += ["## Makes", "", ", ".join(f"`{name}`" for name in made), ""]
    return "\n".join(parts)


def _read(path: Path) -> Mapping[str, Any]:
    with path.open(encoding="utf-8") as file:
        read: Mapping[str, Any] = hcl2.load(file)
    return read


def _blocks(files: Any, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Blocks of a kind in their order, each with its first label."""
    for file in files:
        for block in file.get(kind, ()):
            for label, body in block.items():
                if label.startswith('"'):
                    yield label.strip('"'), body


def _head(path: Path) -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    return [line.removeprefix("#").strip() for line in takewhile(lambda one: one[:1] == "#", lines)]


def _variables(blocks: Iterator[tuple[str, Mapping[str, Any]]]) -> list[str]:
    rows = ["| variable | type | default | meaning |", "|---|---|---|---|"]
    for name, body in blocks:
        default = f"`{written(body['default'])}`" if "default" in body else "required"
        kind = written(body["type"])
        rows.append(f"| `{name}` | `{_cell(kind)}` | {_cell(default)} | {_cell(_text(body))} |")
    return rows if len(rows) > 2 else ["None."]


def _outputs(blocks: Iterator[tuple[str, Mapping[str, Any]]]) -> list[str]:
    rows = ["| output | meaning |", "|---|---|"]
    rows += [f"| `{name}` | {_cell(_text(body))} |" for name, body in blocks]
    return rows if len(rows) > 2 else ["None."]


def _text(body: Mapping[str, Any]) -> str:
    text: str = body["description"]
    return text.removeprefix('"').removesuffix('"').replace('\\"', '"')


def written(value: Any) -> str:
    """A value as Terraform's language writes it, in one line."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case str():
            inner = value.removeprefix("${").removesuffix("}") if value[:2] == "${" else value
            return " ".join(inner.split())
        case list():
            return f"[{', '.join(written(one) for one in value)}]"
        case dict():
            pairs = [
                f"{_name(key)} = {written(one)}"
                for key, one in value.items()
                if not key.startswith("__")
            ]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case _:
            return str(value)


def _name(key: str) -> str:
    return key.strip('"') if key.strip('"').isidentifier() else key


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def write(root: Path = ROOT) -> list[Path]:
    """Write each README that isn't as its module says; returns these."""
    changed = []
    for module in modules(root):
        path = module / "README.md"
        text = readme(module)
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
            changed.append(path)
    return changed


if __name__ == "__main__":
    for path in write():
        sys.stdout.write(f"{path}\n")
