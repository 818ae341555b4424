"""Cells of CSV that a spreadsheet would run as a formula, made harmless."""

import re

FORMULA = "^[=+\\-@\\t\\r\\n＝＋－＠]"
"""How cells begin that spreadsheets run. Source: OWASP, "CSV Injection"."""
_is_formula = re.compile(FORMULA).match


def harmless(text: str) -> str:
    """Text that no spreadsheet runs: what it would run gets a `'` in front."""
    return f"'{text}" if _is_formula(text) else text
