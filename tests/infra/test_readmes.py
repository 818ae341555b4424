"""Each module's README says what the module is."""

import shutil
from pathlib import Path

import pytest
from tests.infra.readmes import modules, readme, write, written
from tests.infra.terraform import ROOT


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_readme_is_as_the_module_says(module: Path) -> None:
    path = module / "README.md"
    assert path.exists(), "run `make docs`"
    assert path.read_text("utf-8") == readme(module), "run `make docs`"


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_module_begins_by_saying_what_it_is(module: Path) -> None:
    first = (module / "main.tf").read_text("utf-8").splitlines()[0]
    assert first.startswith("# ")


def test_a_readme_that_drifted_is_written_anew(tmp_path: Path) -> None:
    copy = tmp_path / "terraform"
    (copy / "modules").mkdir(parents=True)
    shutil.copy(ROOT / "main.tf", copy)
    shutil.copytree(ROOT / "modules" / "budget", copy / "modules" / "budget")
    write(copy)
    drifted = copy / "modules" / "budget" / "README.md"
    drifted.write_text("old")
    assert write(copy) == [drifted]
    assert write(copy) == []


def test_a_readme_has_every_variable_with_its_type_default_and_meaning() -> None:
    text = readme(ROOT / "modules" / "budget")
    assert "| `prefix` | `string` | required | What all names start with. |" in text
    assert "| `percents_spent` | `set(number)` | `[50, 80, 100]` | " in text
    assert "| `name` | Name of the budget. |" in text
    assert "`aws_budgets_budget`" in text


def test_values_are_written_as_terraform_writes_them() -> None:
    assert written("${map(object({a = string}))}") == "map(object({a = string}))"
    assert written({'"a.b"': True, "c": None, "__is_block__": True}) == '{ "a.b" = true, c = null }'
    assert written([]) == "[]"
