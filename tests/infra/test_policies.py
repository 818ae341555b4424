"""Which rights a call needs and what gives them, as the Service Authorization Reference says."""

import pytest
from tests.infra.policies import Permission, Right, allowed, permissions, rights, statements, used

REGION, ACCOUNT = "eu-central-1", "123456789012"
TABLE = f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table"
POLICY = {
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["dynamodb:Query", "dynamodb:Get*"],
            "Resource": [f"{TABLE}/Offers", f"{TABLE}/Timers/index/*"],
        },
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": "arn:aws:s3:::lake",
            "Condition": {"StringEquals": {"s3:prefix": "config/keys.json"}},
        },
        {"Effect": "Deny", "Action": "dynamodb:*", "Resource": f"{TABLE}/Timers/index/old"},
    ]
}
GIVEN = statements([POLICY])


@pytest.mark.parametrize(
    ("service", "operation", "named", "needed"),
    [
        ("dynamodb", "Query", {"TableName": "T"}, [("dynamodb:Query", f"{TABLE}/T")]),
        (
            "dynamodb",
            "Query",
            {"TableName": "T", "IndexName": "due"},
            [("dynamodb:Query", f"{TABLE}/T/index/due")],
        ),
        (
            "dynamodb",
            "BatchWriteItem",
            {"Tables": ["A", "B"]},
            [("dynamodb:BatchWriteItem", f"{TABLE}/A"), ("dynamodb:BatchWriteItem", f"{TABLE}/B")],
        ),
        (
            "dynamodb",
            "TransactWriteItems",
            {"Items": [["Put", "A"]]},
            [("dynamodb:PutItem", f"{TABLE}/A")],
        ),
        (
            "sqs",
            "SendMessageBatch",
            {"QueueUrl": f"https://sqs/{ACCOUNT}/q.fifo"},
            [("sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:q.fifo")],
        ),
        ("s3", "HeadObject", {"Bucket": "b", "Key": "k"}, [("s3:GetObject", "arn:aws:s3:::b/k")]),
        ("sts", "GetCallerIdentity", {}, []),
    ],
)
def test_a_call_needs_these_rights(
    service: str, operation: str, named: dict[str, object], needed: list[tuple[str, str]]
) -> None:
    found = rights(service, operation, named, REGION, ACCOUNT)
    assert [(right.action, right.resource) for right in found] == needed


def test_a_call_that_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError):
        rights("quantum", "Entangle", {}, REGION, ACCOUNT)


@pytest.mark.parametrize(
    ("action", "resource", "good"),
    [
        ("dynamodb:Query", f"{TABLE}/Offers", True),
        ("dynamodb:GetItem", f"{TABLE}/Offers", True),
        ("dynamodb:PutItem", f"{TABLE}/Offers", False),
        ("dynamodb:Query", f"{TABLE}/Orders", False),
        ("dynamodb:Query", f"{TABLE}/Timers/index/due", True),
        ("dynamodb:Query", f"{TABLE}/Timers/index/old", False),
        ("dynamodb:Query", f"{TABLE}/Timers", False),
    ],
)
def test_a_right_is_given_by_action_and_resource_unless_denied(
    action: str, resource: str, good: bool
) -> None:
    assert allowed(Right(action, resource), GIVEN) is good


def test_a_condition_must_be_met() -> None:
    lake = "arn:aws:s3:::lake"
    assert allowed(Right("s3:ListBucket", lake, (("s3:prefix", "config/keys.json"),)), GIVEN)
    assert not allowed(Right("s3:ListBucket", lake, (("s3:prefix", ""),)), GIVEN)


def test_a_permission_is_used_when_a_call_needed_it() -> None:
    needed = [Right("dynamodb:GetItem", f"{TABLE}/Offers")]
    assert Permission("dynamodb:Get*", f"{TABLE}/Offers") in permissions(GIVEN)
    assert used(Permission("dynamodb:Get*", f"{TABLE}/Offers"), needed)
    assert not used(Permission("dynamodb:Query", f"{TABLE}/Offers"), needed)


def test_what_is_not_understood_is_an_error() -> None:
    with pytest.raises(ValueError, match="NotAction"):
        statements([{"Statement": {"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}}])
