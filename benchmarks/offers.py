"""The offers job: both rules over all events, by our processor, durably, and by the peers.

An offer for three views of a product within 30 minutes and no purchase of it in them, counted anew
after each offer; and one for a product put into the cart and neither bought nor put in again for 15
minutes of event time. Ours stores every event and survives kill -9; the peers store nothing. Ours
is timed as whole processes, the peers from when their engine has started.
"""

import json
import shutil
from pathlib import Path

from benchmarks.events import end_us
from benchmarks.figures import Bench, Figure
from benchmarks.filling import data_dir
from benchmarks.peers import environment
from benchmarks.processes import ROOT, RunFailed, start, wait
from benchmarks.processor import process
from shopstream.domain.shoppers import KEYS_MAX
from shopstream.local.tables import RocksTables

JOB = "offers"
RULES = """
[[rule]]
name = "viewed-three-times"
on = ["view"]
count = 3
same = "product"
within = "30m"
without = ["purchase"]
offer = { percent = 10, expires = "24h" }

[[rule]]
name = "cart-line-left"
on = ["add_to_cart"]
same = "product"
idle = "15m"
without = ["purchase"]
offer = { percent = 5, expires = "24h" }
"""
_PEERS = ROOT / "benchmarks" / "peers"
_ONE, _TWO = "shopstream, one process", "shopstream, two processes"
_DICTS = "msgspec + dicts in memory, one process"
Made = tuple[int, int]


def measure(bench: Bench) -> list[Figure]:
    wanted = _reference(bench)
    found = [_ours(bench, shards, wanted) for shards in (1, 2)]
    found.append(_peer(bench, _DICTS, _dicts(bench)))
    last = str(end_us(bench.input))
    for package, name in (
        ("bytewax", "bytewax, one worker"),
        ("pyspark", "Spark SQL batch, local[2]"),
    ):
        python, reason = environment.python_with(package, bench.folder)
        if python is None:
            found.append(Figure(job=JOB, name=name, kind="peer", skipped=reason))
            continue
        script = _PEERS / ("spark_offers.py" if package == "pyspark" else "bytewax_offers.py")
        found.append(_peer(bench, name, [str(python), str(script), str(bench.input), last]))
    return found


def _ours(bench: Bench, shards: int, wanted: Made) -> Figure:
    root = data_dir(bench, f"offers-{shards}", shards=shards, historical=True, rules=RULES)
    wall_s, _ = process(root, shards)
    viewed, left = _made(root, shards)
    shutil.rmtree(root)
    same = "the same as" if (viewed, left) == wanted else f"NOT the {sum(wanted):,} of"
    return Figure(
        job=JOB,
        name=_ONE if shards == 1 else _TWO,
        value=wall_s,
        unit="s",
        less=True,
        target=(10.0 if shards == 1 else 6.0) * bench.events / 2_000_000,
        against=_DICTS,
        note=f"{viewed:,} + {left:,} offers, {same} the second implementation",
    )


def _made(root: Path, shards: int) -> Made:
    """The offers in the tables, by rule."""
    viewed = left = 0
    for shard in range(shards):
        tables = RocksTables.reader(root / "tables" / str(shard))
        for _, _, item in tables.scan("offers"):
            if b'"rule":"viewed-three-times"' in item:
                viewed += 1
            else:
                left += 1
        tables.close()
    return viewed, left


def _dicts(bench: Bench, keys_max: int = 0) -> list[str]:
    python = environment.own_python()
    return [python, "-m", "benchmarks.peers.dict_offers", str(bench.input), str(keys_max)]


def _reference(bench: Bench) -> Made:
    """The offers that ours must make: computed once for an input, it is always the same."""
    known = bench.folder / f"offers-{bench.input.name}-{KEYS_MAX}.json"
    if not known.exists():
        part = known.with_suffix(".part")
        wait(start(_dicts(bench, KEYS_MAX), part), part)
        part.rename(known)
    return _answer(known)[1]


def _peer(bench: Bench, name: str, command: list[str]) -> Figure:
    output = bench.folder / f"{name.split()[0]}.txt"
    try:
        used = wait(start(command, output), output)
        seconds, (viewed, left) = _answer(output)
    except (RunFailed, ValueError) as e:
        return Figure(job=JOB, name=name, kind="peer", skipped=str(e))
    note = f"{viewed:,} + {left:,} offers; whole process {used.wall_s:.1f} s"
    return Figure(
        job=JOB, name=name, value=seconds, unit="s", kind="peer", less=True, against=_ONE, note=note
    )


def _answer(output: Path) -> tuple[float, Made]:
    """What a peer printed last: its seconds and its offers by rule."""
    lines = output.read_text(errors="replace").replace("\r", "\n").strip().splitlines()
    answer = json.loads(lines[-1][lines[-1].index("{") :])
    return answer["seconds"], (answer["viewed"], answer["cart"])
