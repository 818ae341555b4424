"""What the tests of staged rows answered (`statements.audit_query`), as failures with examples."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from shopstream.lake.compiled import CompiledModel
from shopstream.lake.quality import TestFailure, shown

EXAMPLES_MAX = 5
Answer: TypeAlias = Mapping[str, Any]
"""A row by column; numbers may be text."""


def failures_in(
    model: CompiledModel,
    said: Answer,
    ask: Callable[[str], Sequence[Answer]],
    *,
    counted: bool,
) -> list[TestFailure]:
    """The tests that staged rows fail. `ask` runs a test's query for an example; `counted` says
    whether the number of rows is tested, against the table as it is published.
    """
    failures: list[TestFailure] = []
    for n, test in enumerate(model.tests):
        failing = int(said[f"t{n}"] or 0)
        if not failing:
            continue
        example: dict[str, str] = {}
        if test.example and len(failures) < EXAMPLES_MAX:
            example = {k: shown(v) for row in ask(test.example) for k, v in row.items()}
        if test.test == "freshness":
            own, landed = said[f"own{n}"] or "nothing", said[f"landed{n}"]
            example = {test.column: own}
            message = (
                f"the newest row is of {own}, more than {test.wanted} before what landed: {landed}"
            )
        else:
            message = _message(test.test, failing, test.wanted)
        failures.append(TestFailure(model.name, test.test, test.column, failing, example, message))
    return failures + (_of_row_count(model, said) if counted else [])


def rows_after(said: Answer) -> int:
    """How many rows the table has once what is staged is published."""
    published, replaced = int(said.get("published") or 0), int(said.get("replaced") or 0)
    return published - replaced + int(said["staged_count"] or 0)


def _of_row_count(model: CompiledModel, said: Answer) -> list[TestFailure]:
    most = model.drop_percent_max
    before, after = int(said["published"] or 0), rows_after(said)
    lost = before - after
    if most < 0 or lost <= 0 or lost * 100 <= before * most:
        return []
    message = (
        f"{after:,} rows where {before:,} are published: more than {most}% fewer; if that is"
        " right, build it with --full"
    )
    return [TestFailure(model.name, "row_count", "", lost, {}, message)]


def _message(test: str, failing: int, wanted: str) -> str:
    rows = f"{failing:,} row{'s' * (failing != 1)}"
    if test == "unique":
        return f"{rows} {wanted}"
    if test == "relationships":
        return (
            f"{rows} {'has a value that is' if failing == 1 else 'have values that are'} {wanted}"
        )
    return f"{rows} {'is' if failing == 1 else 'are'} {wanted}"
