"""Events on their way through an applied stack, from the collector to offers, alerts and the lake.

Every test has shoppers of its own, so that what others left doesn't matter.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from tests.infra.doors import Request
from tests.infra.drive import Drive
from tests.infra.subscribers import EVERYTHING, LOW_STOCK

MINUTE_US = 60_000_000


def somebody(kind: str = "shopper") -> str:
    return f"{kind}-{uuid4().hex[:10]}"


def ago(**how_long: float) -> str:
    time = datetime.now(UTC) - timedelta(**how_long)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_us() -> int:
    return int(datetime.now(UTC).timestamp() * 1e6)


def view(user_id: str, product_id: str = "p1", **fields: Any) -> dict[str, Any]:
    known = {"event_id": somebody("e"), "user_id": user_id, "event_type": "view"}
    return known | {"product_id": product_id, "timestamp": ago(minutes=2)} | fields


def views(user_id: str, product_id: str = "p1", count: int = 3) -> list[dict[str, Any]]:
    return [view(user_id, product_id, timestamp=ago(minutes=9 - n)) for n in range(count)]


def order(customer_id: str, price: float = 10, **fields: Any) -> dict[str, Any]:
    known = {"order_id": somebody("o"), "customer_id": customer_id, "currency": "EUR"}
    lines = [{"product_id": "p1", "quantity": 1, "unit_price": price}]
    return known | {"status": "paid", "lines": lines, "timestamp": ago(minutes=1)} | fields


def offers_of(drive: Drive, user_id: str) -> list[dict[str, Any]]:
    found = drive.engine.tables().query("offers", user_id)
    return sorted((json.loads(item) for _, item in found), key=lambda offer: str(offer["rule"]))


def archived_of(drive: Drive, user_id: str) -> list[dict[str, Any]]:
    files = drive.objects("real-time-offers-archive", "offers/").values()
    offers = [json.loads(line) for body in files for line in body.splitlines()]
    return [offer for offer in offers if offer["user_id"] == user_id]


def landed_of(drive: Drive, topic: str, user_id: str) -> list[dict[str, Any]]:
    name = "customer_id" if topic == "orders" else "user_id"
    return [row for row in drive.bronze(topic) if row.get(name) == user_id]


def clicks_of(drive: Drive, user_id: str) -> int:
    answer = drive.get(f"/v1/users/{user_id}/events")
    assert answer.status == 200
    return len(json.loads(answer.body)["events"])


def rejections(drive: Drive, marked: str) -> list[dict[str, Any]]:
    """Those whose raw bytes hold a mark."""
    import base64

    found = [json.loads(item) for _, _, item in drive.items("quarantine")]
    return [r for r in found if marked.encode() in base64.b64decode(r["rejection"]["raw"])]


def send_raw(drive: Drive, key: str, *bodies: bytes) -> None:
    """As anybody with AWS's SDK sends clicks."""
    if drive.engine.settings.aws_clicks == "kinesis":
        records: list[Any] = [{"PartitionKey": key, "Data": body} for body in bodies]
        drive.emulator.client("kinesis").put_records(StreamName=drive.names.stream, Records=records)
        return
    url = drive.queue_url(drive.names.queue("clicks"))
    for body in bodies:
        drive.emulator.client("sqs").send_message(
            QueueUrl=url,
            MessageBody=body.decode("utf-8"),
            MessageGroupId=key,
            MessageDeduplicationId=uuid4().hex,
        )


def test_three_views_become_an_offer_wherever_offers_are(drive: Drive) -> None:
    user = somebody()
    assert drive.post("clicks", *views(user)).status == 200
    drive.settle()
    (offer,) = offers_of(drive, user)
    assert (offer["rule"], offer["product_id"]) == ("viewed-three-times", "p1")
    answer = drive.get(f"/v1/users/{user}/offers")
    assert [o["offer_id"] for o in json.loads(answer.body)["offers"]] == [offer["offer_id"]]
    (archived,) = archived_of(drive, user)
    assert archived["offer_id"] == offer["offer_id"]
    assert len(landed_of(drive, "clicks", user)) == 3
    assert clicks_of(drive, user) == 3


def test_the_collector_is_well_and_describes_itself(drive: Drive) -> None:
    assert drive.request(Request("GET", "/health")).status == 200
    spec = json.loads(drive.request(Request("GET", "/openapi.json")).body)
    assert "/v1/events/clicks" in spec["paths"]


def test_what_is_sent_again_has_one_effect(drive: Drive) -> None:
    user = somebody()
    batch = views(user)
    for _ in range(3):
        assert drive.post("clicks", *batch).status == 200
    drive.settle()
    drive.post("clicks", *batch[:2])
    drive.settle()
    assert len(offers_of(drive, user)) == len(archived_of(drive, user)) == 1
    assert clicks_of(drive, user) == 3


def test_a_record_that_nobody_can_read_stops_no_other(drive: Drive) -> None:
    user, mark = somebody(), uuid4().hex
    before = len(drive.items("quarantine"))
    good = [json.dumps(one).encode() for one in views(user)]
    bad = [f"{{{mark}".encode(), b'{"user_id": "%s"}' % mark.encode(), f"SE1{mark}".encode()]
    send_raw(drive, user, good[0], bad[0], good[1], bad[1], bad[2], good[2])
    drive.settle()
    assert clicks_of(drive, user) == 3
    assert len(offers_of(drive, user)) == 1
    assert len(drive.items("quarantine")) == before + 3
    assert not drive.errors


def test_a_rejected_event_is_mended_and_replayed(drive: Drive) -> None:
    user, origin = somebody(), somebody("campaign")
    *good, bad = views(user)
    drive.post("clicks", *good, bad | {"price": -1, "referrer_url": f"https://{origin}"})
    drive.settle()
    assert offers_of(drive, user) == []
    (rejected,) = rejections(drive, origin)
    assert rejected["rejection"]["failures"][0]["field"] == "price"
    replayed = drive.invoke("replay", {"ids": [rejected["id"]], "set": {"price": "5"}})
    assert replayed.error == ""
    drive.settle()
    assert len(offers_of(drive, user)) == 1
    assert rejections(drive, origin)[0]["resolved_us"] > 0


@pytest.fixture
def invalid(drive: Drive) -> Any:
    """Subscribes a queue to the topic of invalid orders, which Terraform sends as mails only;
    returns what it was told.
    """
    sqs, sns = drive.emulator.client("sqs"), drive.emulator.client("sns")
    name = somebody("subscriber")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    sns.subscribe(
        TopicArn=drive.outputs["topics"]["invalid_orders"],
        Protocol="sqs",
        Endpoint=attributes["Attributes"]["QueueArn"],
        Attributes={"RawMessageDelivery": "true"},
    )
    yield lambda: drive.messages(name)
    sqs.delete_queue(QueueUrl=url)


def test_large_and_invalid_orders_are_told_once_to_who_wants_to_know(
    drive: Drive, invalid: Any
) -> None:
    customer = somebody("customer")
    drive.messages(EVERYTHING)
    plain, dear = order(customer), order(customer, 2_500)
    wrong = order(customer, currency="XXQ")
    for _ in range(2):
        assert drive.post("orders", plain, dear, wrong).status == 200
        drive.settle()
    (alert,) = [one for one in drive.messages(EVERYTHING) if one["kind"] == "large_order"]
    assert (alert["kind"], alert["data"]["order_id"]) == ("large_order", dear["order_id"])
    assert {one["kind"] for one in invalid()} == {"invalid_order"}
    answer = drive.get(f"/v1/orders/{dear['order_id']}")
    assert answer.status == 200
    assert len({row["order_id"] for row in landed_of(drive, "orders", customer)}) == 2


def test_a_segment_message_of_an_order_is_a_click_and_an_order(drive: Drive) -> None:
    user, order_id = somebody(), somebody("o")
    product = {"product_id": "p1", "price": 5, "quantity": 1}
    message = {
        "type": "track",
        "event": "Order Completed",
        "userId": user,
        "messageId": somebody("m"),
        "timestamp": ago(minutes=1),
        "properties": {
            "order_id": order_id,
            "total": 2_000,
            "currency": "EUR",
            "products": [product | {"price": 2_000}],
        },
    }
    headers = {"content-type": "application/json"} | drive.credentials("write")
    body = json.dumps(message).encode()
    assert drive.request(Request("POST", "/v1/track", body, headers)).status == 200
    drive.settle()
    assert drive.get(f"/v1/orders/{order_id}").status == 200
    assert clicks_of(drive, user) == 1


def test_alerts_reach_the_queues_that_terraform_subscribed_each_its_kinds(drive: Drive) -> None:
    product = somebody("product")
    for queue in (EVERYTHING, LOW_STOCK):
        drive.messages(queue)
    drive.post("orders", order(somebody("customer"), 2_500))
    known = {"product_id": product, "reorder_level": 5}
    for on_hand in (9, 4):
        drive.post("stock", known | {"stock_on_hand": on_hand, "timestamp": ago(minutes=on_hand)})
        drive.settle()
    (alert,) = drive.messages(LOW_STOCK)
    assert product in json.dumps(alert)
    assert sorted(one["kind"] for one in drive.messages(EVERYTHING)) == ["large_order", "low_stock"]


def test_what_a_subscriber_can_not_be_given_goes_to_the_failures(drive: Drive) -> None:
    """As applied by Terraform; the emulator itself never fails to deliver."""
    sns = drive.emulator.client("sns")
    pages = sns.get_paginator("list_subscriptions").paginate()
    found = {
        one["Endpoint"].removeprefix("mailto:"): sns.get_subscription_attributes(
            SubscriptionArn=one["SubscriptionArn"]
        )["Attributes"]
        for page in pages
        for one in page["Subscriptions"]
        if "subscriber" not in one["Endpoint"]
    }
    assert {"shop@example.com", "owner@example.com"} <= set(found)
    assert len(found) == 4
    for one in found.values():
        queue = json.loads(one["RedrivePolicy"])["deadLetterTargetArn"]
        assert queue.endswith(f":{drive.names.failures}")


def test_an_order_too_large_for_the_queue_goes_by_way_of_the_lake(drive: Drive) -> None:
    customer = somebody("customer")
    noise = "".join(uuid4().hex for _ in range(20_000))
    big = order(customer, payload={"note": noise})
    drive.post("orders", big)
    assert drive.objects("lake", "claims/")
    drive.settle()
    answer = drive.get(f"/v1/orders/{big['order_id']}")
    assert answer.status == 200
    (landed,) = landed_of(drive, "orders", customer)
    assert landed["order_id"] == big["order_id"]


def test_a_cart_left_alone_becomes_an_offer_when_the_clock_says_so(drive: Drive) -> None:
    stays, buys = somebody(), somebody()
    for user in (stays, buys):
        drive.post("clicks", view(user, event_type="add_to_cart", quantity=1, price=20))
    drive.settle()
    drive.tick(now_us() + 10 * MINUTE_US)
    assert offers_of(drive, stays) == []
    drive.set_clock(None)
    drive.post("clicks", view(buys, event_type="purchase", timestamp=ago(seconds=1)))
    drive.settle()
    for _ in range(2):
        assert drive.tick(now_us() + 40 * MINUTE_US).error == ""
    drive.set_clock(None)
    assert [offer["rule"] for offer in offers_of(drive, stays)] == ["cart-abandoned"]
    assert offers_of(drive, buys) == []


def test_the_shops_own_rules_hold_where_terraform_was_given_a_file_of_them(drive: Drive) -> None:
    """One of them has a budget of one offer a day, over all users."""
    users = [somebody() for _ in range(3)]
    for user in users:
        search = view(user, event_type="search", consent={"only-one-a-day": True})
        assert drive.post("clicks", search).status == 200
        drive.settle()
    given = [offer["rule"] for user in users for offer in offers_of(drive, user)]
    assert given == (["only-one-a-day"] if drive.stack.profile == "scale" else [])


CART_LINES = """user_id,cart_id,product_id,name,quantity,unit_price,currency,timestamp
{user},c1,p1,Lamp,2,10,EUR,{then}
{user},c1,p2,Chair,1,30,EUR,{then}
{other},c2,p1,Lamp,1,10,EUR,{later}
"""


def test_carts_dropped_as_a_file_become_top_products_and_promotions(drive: Drive) -> None:
    user, other, name = somebody(), somebody(), somebody("file")
    lines = CART_LINES.format(user=user, other=other, then=ago(hours=30), later=ago(hours=20))
    s3 = drive.emulator.client("s3")
    s3.put_object(Bucket=drive.names.bucket("raw"), Key=f"carts/{name}.csv", Body=lines.encode())
    drive.settle()
    (products,) = drive.objects("processed", f"abandoned_products/{name}").values()
    assert products.count(b"\n") == 3
    (promotions,) = drive.objects("consumption", f"promotions/{name}").values()
    assert user.encode() in promotions
    assert len(landed_of(drive, "carts", user)) == 2
    assert not drive.given_up
