"""The arithmetic of docs/aws-costs.md comes out."""

import ast
import operator
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "aws-costs.md"
CENT = Decimal("0.01")
OPERATIONS: dict[type[ast.operator], Callable[[Decimal, Decimal], Decimal]] = {
    ast.Add: operator.add,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def worked_out(arithmetic: str) -> Decimal:
    """The value of `2 × 1,000 ÷ 3 + 4`."""
    text = arithmetic.replace("×", "*").replace("÷", "/").replace(",", "")
    return value_of(ast.parse(text, mode="eval").body, text)


def value_of(node: ast.expr, text: str) -> Decimal:
    if isinstance(node, ast.BinOp):
        left, right = value_of(node.left, text), value_of(node.right, text)
        return OPERATIONS[type(node.op)](left, right)
    return Decimal(ast.get_source_segment(text, node) or "")


def tables() -> Iterator[list[list[str]]]:
    """Rows of each table that has an arithmetic."""
    for part in PAGE.read_text("utf-8").split("\n\n"):
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.split("\n")]
        if rows[0][1:2] == ["arithmetic"]:
            yield rows[2:]


def test_every_row_is_what_its_arithmetic_says_to_the_cent() -> None:
    rows = [row for table in tables() for row in table[:-1]]
    assert len(rows) > 25
    for what, arithmetic, said in rows:
        found = worked_out(arithmetic).quantize(CENT, ROUND_HALF_UP)
        assert found == Decimal(said), f"{what}: {found}"


def test_every_sum_is_that_of_its_rows() -> None:
    found = list(tables())
    assert len(found) == 8
    for *rows, (what, _, said) in found:
        assert what.startswith("**sum")
        assert sum(Decimal(row[2]) for row in rows) == Decimal(said), f"{what}: {said}"
