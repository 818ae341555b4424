"""Both profiles as applied: Terraform has nothing more to do, and all is as the code expects it."""

from tests.infra.drive import Drive

from shopstream.aws.names import BRONZE_TOPICS, FUNCTIONS, TABLES

FORGOTTEN = {("scale", "module.rest_api[0].aws_api_gateway_rest_api.this", "binary_media_types")}
"""What the emulator doesn't keep, and AWS does: (profile, address, attribute)."""


def test_a_second_plan_has_nothing_to_do(drive: Drive) -> None:
    changes = {
        (drive.stack.profile, one["address"], attribute)
        for one in drive.stack.plan_json().get("resource_changes", [])
        if one["change"]["actions"] != ["no-op"] and one["mode"] == "managed"
        for attribute in _changed(one["change"])
    }
    assert changes <= FORGOTTEN


def _changed(change: dict[str, dict[str, object]]) -> set[str]:
    before, after = change["before"] or {}, change["after"] or {}
    unknown = {name for name, is_unknown in change["after_unknown"].items() if is_unknown}
    names = (set(before) | set(after)) - unknown
    # What only follows from another attribute, as a deployment of the API, is named by it.
    return {n for n in names if before.get(n) != after.get(n)} or {"unknown"}


def test_everything_is_called_as_the_code_calls_it(drive: Drive) -> None:
    names, outputs = drive.names, drive.outputs
    assert set(outputs["tables"].values()) >= {names.table(table) for table in TABLES}
    assert names.idempotency in outputs["tables"].values()
    assert set(outputs["functions"].values()) == {names.function(one) for one in FUNCTIONS}
    streams = drive.emulator.client("firehose").list_delivery_streams()["DeliveryStreamNames"]
    assert set(streams) == {names.delivery(topic) for topic in BRONZE_TOPICS}
    assert names.lake in outputs["buckets"].values()
    assert names.offers_archive in outputs["buckets"].values()
    clicks = drive.engine.settings.aws_clicks
    expected = names.stream if clicks == "kinesis" else names.queue("clicks")
    assert outputs["clicks_url"].endswith(expected)


def test_every_source_has_its_function_and_a_way_out(drive: Drive) -> None:
    mapped = {mapping.function: mapping for mapping in drive.poller.mappings}
    wanted = {"ingestor", "order_processor", "offer_generator"}
    assert set(mapped) == {drive.names.function(handler) for handler in wanted}
    for mapping in mapped.values():
        assert mapping.reports
        if mapping.service != "sqs":
            assert mapping.destination_arn.endswith(drive.names.failures)
            assert mapping.bisects
            assert mapping.retries_max > 0
            assert mapping.age_max_s > 0
