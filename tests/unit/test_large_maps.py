"""A map on disk is a map; its memory is bounded however much it holds."""

import subprocess
import sys
from pathlib import Path

import pytest

from shopstream.large_maps import LargeMap

FILL = """
from pathlib import Path
from shopstream.large_maps import LargeMap
with LargeMap() as numbers:
    for n in range(700_000):
        numbers.put(b"%d" % n, n)
    status = Path("/proc/self/status").read_text().splitlines()
    kib = next(line.split()[1] for line in status if line.startswith("VmHWM"))
    print(len(numbers), int(kib) // 1024)
"""


def test_a_key_keeps_its_first_number_until_it_is_taken_out() -> None:
    with LargeMap() as numbers:
        assert numbers.put("a", 1)
        assert not numbers.put("a", 2)
        assert numbers.put(b"b")
        assert "a" in numbers
        assert "c" not in numbers
        assert (len(numbers), sorted(numbers.values())) == (2, [0, 1])
        assert numbers.pop("a") == 1
        assert numbers.pop("a") is None
        assert "a" not in numbers


def test_maps_have_nothing_in_common() -> None:
    with LargeMap() as one, LargeMap() as other:
        one.put("a")
        assert "a" not in other


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says how much it was")
def test_many_keys_take_little_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILL], capture_output=True, text=True, timeout=120, check=True
    )
    keys, mib = map(int, done.stdout.split())
    # A dict of so many takes 110 MiB.
    assert (keys, mib < 60) == (700_000, True), mib
