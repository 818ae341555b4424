"""Every model's unit test, on DuckDB."""

import pytest
from tests.models.unit_tests import Case, cases, compare, rows_on_duckdb


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.model.name)
def test_a_model_makes_of_the_given_rows_the_expected_ones(case: Case) -> None:
    compare(case, rows_on_duckdb(case))
