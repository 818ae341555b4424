"""Both profiles as applied: Terraform has nothing more to do, and all is as the code expects it."""

from tests.infra.api import applied_policy, permits
from tests.infra.drive import Drive
from tests.infra.emulator import ACCOUNT

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


def test_every_rule_may_do_what_it_is_for(drive: Drive) -> None:
    events = drive.emulator.client("events")
    called = {}
    for rule in events.list_rules()["Rules"]:
        (target,) = events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
        function = target["Arn"].rpartition(":")[2]
        if ":lambda:" in target["Arn"]:
            policy = applied_policy(drive.emulator, function)
            assert permits(policy, function, "events.amazonaws.com", rule["Arn"]), rule
            called[function] = rule["Name"]
    wanted = ("cart_watcher", "cart_processor", "promotions", "lake_builder")
    assert set(called) == {drive.names.function(handler) for handler in wanted}


def test_who_hears_of_costs_is_as_terraform_was_told(drive: Drive) -> None:
    (budget,) = drive.emulator.client("budgets").describe_budgets(AccountId=ACCOUNT)["Budgets"]
    usd = {"starter": 20, "scale": 500}[drive.stack.profile]
    assert float(budget["BudgetLimit"]["Amount"]) == usd
    told = {"AccountId": ACCOUNT, "BudgetName": budget["BudgetName"]}
    budgets = drive.emulator.client("budgets")
    notifications = budgets.describe_notifications_for_budget(**told)["Notifications"]
    assert {one["NotificationType"] for one in notifications} == {"ACTUAL", "FORECASTED"}


def test_every_source_has_its_function_and_a_way_out(drive: Drive) -> None:
    mapped = {mapping.function: mapping for mapping in drive.poller.mappings}
    wanted = {"ingestor", "order_processor", "offer_generator"}
    assert set(mapped) == {drive.names.function(handler) for handler in wanted}
    for mapping in mapped.values():
        assert mapping.reports
        if mapping.service != "sqs":
            assert mapping.destination_arn.endswith(drive.names.bucket("failures"))
            assert mapping.bisects
            assert mapping.retries_max > 0
            assert mapping.age_max_s > 0
