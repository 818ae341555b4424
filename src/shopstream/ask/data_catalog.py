"""The data catalog and the lineage of all tables, as Markdown, from the models' own files."""

from collections.abc import Iterable, Sequence

from shopstream.ask.live import LIVE_TABLES
from shopstream.lake.model import (
    LAYERS,
    Column,
    Layer,
    Model,
    ValueTest,
    load_models,
    load_sources,
)

_BUILT = {
    "merge": "New rows are merged into their days.",
    "days": "The days that changed are computed anew.",
    "whole": "Computed anew whenever a table it reads has changed.",
}


def tables_reference(layer: Layer) -> str:
    """All tables of a layer by name: what a row is, how it is built, every column."""
    models = [model for model in load_models().values() if model.layer == layer]
    return "\n".join(map(_model, _sorted(models)))


def live_reference() -> str:
    """The live tables."""
    parts = []
    for table in LIVE_TABLES.values():
        facts = f"{table.description} One row for each {_names(table.grain)}."
        parts.append(f"### {table.name}\n\n{facts}\n\n{_columns(table.columns)}")
    return "\n".join(parts)


def sources_reference() -> str:
    """What the first models read."""
    rows = ["| source | what it is |", "|---|---|"]
    rows += [f"| `{s.name}` | {_cell(s.description)} |" for s in load_sources().values()]
    return "\n".join([*rows, ""])


def lineage_reference() -> str:
    """Which table is made of which, as a Mermaid graph."""
    models, sources = load_models(), load_sources()
    used = {read for model in models.values() for read in model.reads}
    lines = ["```mermaid", "flowchart LR", "    subgraph bronze"]
    lines += [f"        {name}" for name in sorted(used & set(sources))]
    for layer in LAYERS:
        lines += ["    end", f"    subgraph {layer}"]
        lines += [f"        {m.name}" for m in _sorted(models.values()) if m.layer == layer]
    lines.append("    end")
    for model in _sorted(models.values()):
        lines += [f"    {read} --> {model.name}" for read in model.reads]
    return "\n".join([*lines, "```", ""])


def _sorted(models: Iterable[Model]) -> list[Model]:
    return sorted(models, key=lambda model: model.name)


def _model(model: Model) -> str:
    parts = " Partitioned by " + f"`{model.partition}`." if model.partition else ""
    facts = (
        f"One row for each {_names(model.grain)}. Made of {_names(model.reads)}."
        f" {_BUILT[model.build]}{parts}"
    )
    description = " ".join(model.description.split())
    return f"### {model.name}\n\n{description}\n\n{facts}\n\n{_columns(model.columns)}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _columns(columns: Sequence[Column]) -> str:
    rows = ["| column | type | meaning | tested |", "|---|---|---|---|"]
    rows += [
        f"| `{c.name}` | {c.type} | {_cell(c.description)} | {_cell(_tests(c))} |" for c in columns
    ]
    return "\n".join([*rows, ""])


def _tests(column: Column) -> str:
    found = []
    for test in column.tests:
        if not isinstance(test, ValueTest):
            found.append(test.replace("_", " "))
        elif test.accepted_values is not None:
            found.append("one of " + ", ".join(map(str, test.accepted_values)))
        elif test.relationships is not None:
            found.append(f"in `{test.relationships.to}.{test.relationships.column}`")
    return "; ".join(found)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
