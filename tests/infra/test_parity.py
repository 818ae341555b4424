"""The same events through the embedded engine and through an applied stack: the same offers,
orders, alerts, products, rejections and landed rows. What differs is printed.

Both profiles are given simulated events and then the files of real shops: the beginning of each, or
with SHOPSTREAM_TEST_PARITY=full 50,000 events and the whole files. So it was run when this was
written, on both profiles: identical, in 40 minutes beside other work.
"""

import gzip
import os
from itertools import islice
from pathlib import Path

import pytest
from tests.e2e.command import DATA, REES46, UCI
from tests.flows.pipeline import DAY_US, NOW_US, Pipeline
from tests.infra.drive import Drive
from tests.infra.parity import Outcome, Step, deployed, differences, embedded, loaded, simulated
from tests.infra.subscribers import RULES

from shopstream.loader import load_files
from shopstream.settings import Settings

FULL = os.environ.get("SHOPSTREAM_TEST_PARITY") == "full"
EVENTS = 50_000 if FULL else 3_000
LINES = 1_000_000 if FULL else 3_000
"""Of each file."""
STEPS = 8
Steps = list[Step]


def of_the_simulator() -> Steps:
    return simulated(EVENTS, steps=STEPS, start_us=NOW_US - NOW_US % DAY_US - 2 * DAY_US)


def beginning(file: Path, copy: Path) -> Path:
    """The first lines of a file."""
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rb") as found, copy.open("wb") as made:
        made.writelines(islice(found, LINES))
    return copy


def of_real_shops(folder: Path) -> Steps:
    if not DATA.is_dir():
        pytest.skip("real data files are absent; name their folder SHOPSTREAM_TEST_DATA")

    def load(settings: Settings) -> None:
        for file, mapping in ((REES46, "rees46"), (UCI, "uci_online_retail")):
            some = beginning(file, folder.parent / file.name.removesuffix(".gz"))
            load_files(settings, [some], mapping, now_us=lambda: NOW_US)

    return loaded(folder, load, NOW_US)


RULES_OF = {"starter": None, "scale": RULES}
"""What Terraform was given; None are the default rules."""


class Compared:
    """What arrives at a profile's stack, and what the embedded engine makes of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._found: dict[str, tuple[Steps, Outcome]] = {}

    def of(self, profile: str) -> tuple[Steps, Outcome]:
        if profile not in self._found:
            folder = self._folder / profile
            folder.mkdir()
            # In the order of their times: history is what is read last.
            steps = of_the_simulator() + of_real_shops(folder / "loaded")
            with Pipeline(folder / "embedded", rules=RULES_OF[profile]) as pipeline:
                self._found[profile] = steps, embedded(pipeline, steps)
        return self._found[profile]


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Compared:
    return Compared(tmp_path_factory.mktemp("compared"))


def test_there_is_something_of_every_kind_to_compare(profile: str, compared: Compared) -> None:
    _, outcome = compared.of(profile)
    sizes = outcome.sizes()
    assert {kind for kind, size in sizes.items() if not size} == set()


def test_both_engines_make_the_same_of_the_same_events(
    profile: str, compared: Compared, drive: Drive
) -> None:
    steps, expected = compared.of(profile)
    found = deployed(drive, steps)
    assert drive.errors == []
    different = differences(expected, found, ("embedded", "deployed"))
    assert not different, f"\n{different}"
    assert found.sizes() == expected.sizes()
