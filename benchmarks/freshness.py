"""From the moment an event is sent to the moment a gold table shows it, through a running `up`.

With all settings as they are by default: the builder builds once a minute. While shoppers' events
come in, orders of new products are sent at odd moments, and the gold table of daily sales is asked
until each product is there; when its file was published counts. What it may take is a minute and
a build, which begins with the landing.
"""

import json
import shutil
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import httpx

from benchmarks.figures import Bench, Figure
from benchmarks.processes import SHOPSTREAM, RunFailed, free_port, running, wait_for_port

JOB = "freshness"
RATE = 200
"""Shoppers' events a second meanwhile."""
PROBES, PAUSE_S = 4, 17.0
EVERY_S = 60.0
PATIENCE_S = 240.0
_ASK = "SELECT DISTINCT product_id FROM gold_daily_sales WHERE product_id LIKE 'probe-%'"


def measure(bench: Bench) -> list[Figure]:
    root = bench.folder / "freshness"
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    port, log = free_port(), bench.folder / "up.txt"
    up = [SHOPSTREAM, "up", "--data-dir", str(root), "--port", str(port)]
    shop = [SHOPSTREAM, "simulate", "shop", "--count", "0", "--rate", str(RATE), "--quiet",
            "--to", f"http://127.0.0.1:{port}"]  # fmt: skip
    with running(up, log) as process:
        wait_for_port(port, process, log)
        with running(shop, bench.folder / "shoppers.txt"):
            took_s = _probe(
                root, f"http://127.0.0.1:{port}", PROBES // 2 if bench.quick else PROBES
            )
        build_s = _build_s(root)
    shutil.rmtree(root)
    note = f"{len(took_s)} orders; the last build took {build_s:.1f} s; {RATE} events/s meanwhile"
    return [
        Figure(
            job=JOB, name="event to gold, longest", value=max(took_s), unit="s", less=True,
            target=EVERY_S + build_s, note=note,
        ),
        Figure(
            job=JOB, name="event to gold, median", value=statistics.median(took_s), unit="s",
            less=True,
        ),
    ]  # fmt: skip


def _probe(root: Path, url: str, probes: int) -> list[float]:
    """Seconds from each order's answer to when the gold table that shows its product was there."""
    sent: dict[str, float] = {}
    took: dict[str, float] = {}
    seen_at, began = 0, time.monotonic()
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        while len(took) < probes:
            now = time.monotonic()
            if len(sent) < probes and now - began >= len(sent) * PAUSE_S:
                product = f"probe-{len(sent)}"
                client.post("/v1/events/orders", json=_order(product)).raise_for_status()
                sent[product] = time.time()
            if (written := _written(root)) != seen_at:
                seen_at = written
                took |= {p: written / 1e9 - sent[p] for p in _shown(root) if p not in took}
            if now - began > PATIENCE_S:
                raise RunFailed(f"only {sorted(took)} of {sorted(sent)} came to gold")
            time.sleep(0.05)
    return list(took.values())


def _order(product: str) -> dict[str, object]:
    line = {"product_id": product, "category": "probes", "quantity": 1, "unit_price": "1.00"}
    at = datetime.now(UTC).isoformat()
    return {"order_id": product, "status": "paid", "currency": "EUR", "timestamp": at,
            "lines": [line]}  # fmt: skip


def _written(root: Path) -> int:
    """When the tables that readers see were last published; 0 before the first time."""
    path = root / "lake" / "current.json"
    return path.stat().st_mtime_ns if path.exists() else 0


def _shown(root: Path) -> list[str]:
    import shopstream

    if "gold_daily_sales" not in (root / "lake" / "current.json").read_text("utf-8"):
        return []
    con = shopstream.connect(root)
    found = [product for (product,) in con.execute(_ASK).fetchall()]
    con.close()
    return found


def _build_s(root: Path) -> float:
    beat = json.loads((root / "run" / "builder.json").read_text("utf-8"))
    return float(beat.get("build_s", 0.0))
