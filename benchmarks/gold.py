"""Gold: four jobs over the clicks in silver, asked as anyone may ask them.

Daily sales by product, the funnel by day and device, the 50 most abandoned products, totals by
user. Ours reads the published snapshot through `shopstream.connect()`; the limit is DuckDB over the
same rows in one Parquet file, the peer Spark over that file. All must come to the same. Seconds are
the best of three in an engine that has started and run them once. Below it, what a build of the
gold models takes, as a whole process with tests and commits.
"""

import json
import shutil
import sys
from pathlib import Path

from benchmarks.figures import Bench, Figure
from benchmarks.filling import data_dir
from benchmarks.landing import run
from benchmarks.peers import environment
from benchmarks.processes import ROOT, RunFailed, start, wait

JOB = "gold"
TARGET_S = 0.5
MODELS = (
    "gold_product_performance", "gold_funnel", "gold_user_engagement", "gold_traffic",
    "gold_abandoned_products",
)  # fmt: skip
"""Those that read clicks: the input has nothing else."""
_SCRIPT = str(ROOT / "benchmarks" / "peers" / "gold_jobs.py")
_OURS, _LIMIT = "shopstream, published tables", "DuckDB, one Parquet file"
_SPARK = "Spark SQL, local[2], one Parquet file"


def measure(bench: Bench) -> list[Figure]:
    root = data_dir(bench, "gold", shards=1, historical=True)
    run(root, "build", "--select", "silver_clicks")
    one = bench.folder / "clicks.parquet"
    _export(root, one)
    found = [
        _jobs(bench, _OURS, "ours", [sys.executable, _SCRIPT, "ours", str(root)]),
        _jobs(bench, _LIMIT, "limit", [sys.executable, _SCRIPT, "duckdb", str(one)]),
    ]
    python, reason = environment.python_with("pyspark", bench.folder)
    if python is None:
        found.append((Figure(job=JOB, name=_SPARK, kind="peer", skipped=reason), {}))
    else:
        found.append(_jobs(bench, _SPARK, "peer", [str(python), _SCRIPT, "spark", str(one)]))
    answers = [answer for _, answer in found if answer]
    if any(answer != answers[0] for answer in answers):
        raise RunFailed(f"the engines differ: {answers}")
    built = run(root, "build", *(word for model in MODELS for word in ("--select", model)))
    shutil.rmtree(root)
    one.unlink()
    return [
        *(figure for figure, _ in found),
        Figure(
            job=JOB, name=f"build of the {len(MODELS)} gold models of clicks", value=built.wall_s,
            unit="s", less=True, note=f"{built.cpu_s:.2f} s of processor time,"
            f" {built.rss_mib:,.0f} MiB at most",
        ),
    ]  # fmt: skip


def _export(root: Path, path: Path) -> None:
    import shopstream

    con = shopstream.connect(root)
    table = con.sql("SELECT * FROM silver_clicks").to_arrow_table()
    con.close()
    from pyarrow import parquet  # type: ignore[import-untyped]  # it ships no types

    parquet.write_table(table, path, row_group_size=122_880)


def _jobs(
    bench: Bench, name: str, kind: str, command: list[str]
) -> tuple[Figure, dict[str, list[str]]]:
    log = bench.folder / "gold-jobs.txt"
    try:
        wait(start(command, log), log)
        said = log.read_text(errors="replace")
        answer = json.loads(said[said.rindex('{"seconds') :])
    except (RunFailed, ValueError) as e:
        return Figure(job=JOB, name=name, kind=kind, skipped=str(e)), {}
    figure = Figure(
        job=JOB, name=name, value=answer["seconds"], unit="s", kind=kind, less=True,
        against=_OURS if kind != "ours" else _LIMIT,
        target=TARGET_S * bench.events / 2_000_000 if kind == "ours" else 0.0,
        note=f"{answer['first']:.2f} s the first time",
    )  # fmt: skip
    return figure, {name: [_plain(v) for v in row] for name, row in answer["found"].items()}


def _plain(value: str) -> str:
    """Engines write a sum of decimals with more zeros or fewer."""
    return value.rstrip("0").rstrip(".") if "." in value else value
