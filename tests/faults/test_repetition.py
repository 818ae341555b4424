"""The same event again and again, at once and over a restart, has one effect."""

import signal
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from random import Random

from tests.faults.shop import Request, click, order, stock
from tests.faults.snapshot import event_ids, snapshot
from tests.faults.stages import RunningCollector, make_shop, post, run, shopstream

from shopstream.processor import run_processor
from shopstream.settings import load_settings


def requests() -> list[Request]:
    views = [click(n / 60, f"u{n % 5}", "view", f"e{n}", product_id="p1") for n in range(30)]
    orders = [order(n / 60, f"o{n}", customer=f"u{n}") for n in range(10)]
    levels = [stock(n / 60, f"s{n}", 3, f"k{n}") for n in range(10)]
    return [
        Request(f"/v1/events/{topic}", raw)
        for topic, raws in (("clicks", views), ("orders", orders), ("stock", levels))
        for raw in raws
    ]


def test_one_to_five_sendings_at_once_and_over_restarts_have_one_effect(tmp_path: Path) -> None:
    data_dir, chance = make_shop(tmp_path / "data"), Random(3)
    sendings = [request for request in requests() for _ in range(chance.randint(1, 5))]
    chance.shuffle(sendings)
    third = len(sendings) // 3
    for part in (sendings[:third], sendings[third : 2 * third], sendings[2 * third :]):
        with RunningCollector(data_dir) as collector, ThreadPoolExecutor(8) as pool:
            address = collector.wait_until_serving()
            answers = list(pool.map(partial(post, address), part))
            assert {status for status, _, _ in answers} == {200}
            collector.end(signal.SIGKILL)
        run(shopstream("processor", "--until-idle", "--data-dir", str(data_dir))).check_returncode()
    found = snapshot(data_dir)
    times = Counter(topic(r) for r in sendings)
    assert not found.differences
    for name, unique in (("clicks", 30), ("orders", 10), ("stock", 10)):
        assert found.ledger[name, "http", "accepted"] == unique
        assert found.ledger[name, "http", "duplicate"] == times[name] - unique
    ids = event_ids(found)
    assert {i: n for i, n in ids.items() if i[1].startswith("e")} == {
        (f"u{n % 5}", f"e{n}"): 1 for n in range(30)
    }
    assert sum(thing[0] == "alert" for thing in found.things) == 10


def topic(request: Request) -> str:
    return request.path.rpartition("/")[2]


def test_an_id_that_comes_again_with_other_content_is_a_conflict_and_the_first_stays(
    tmp_path: Path,
) -> None:
    data_dir = make_shop(tmp_path / "data")
    first = [
        Request("/v1/events/clicks", click(1, "u1", "view", "e1", product_id="p1")),
        Request("/v1/events/orders", order(1, "o1", customer="u1")),
        Request("/v1/events/stock", stock(1, "s1", 30, "k1")),
    ]
    other = [
        Request("/v1/events/clicks", click(1, "u1", "view", "e1", product_id="p2")),
        Request("/v1/events/orders", order(1, "o1", customer="u1", payment_method="card")),
        Request("/v1/events/stock", stock(1, "s1", 29, "k1")),
    ]
    for part in (first, other):
        with RunningCollector(data_dir) as collector:
            address = collector.wait_until_serving()
            assert [post(address, r)[0] for r in part] == [200] * 3
        run_processor(load_settings({"data_dir": data_dir}), until_idle=True)
    found = snapshot(data_dir)
    assert not found.differences
    for request in other:
        assert found.ledger[topic(request), "http", "quarantined:conflict"] == 1
        assert found.ledger[topic(request), "http", "accepted"] == 1
    kept = {thing[4] for thing in found.things if thing[0] == "quarantine"}
    assert kept == {request.body.hex() for request in other}
    stored = " ".join(" ".join(thing) for thing in found.things if thing[0] != "quarantine")
    assert "p2" not in stored
    assert "card" not in stored
    assert '"stock_on_hand":29' not in stored
