"""What `simulate --to` may name on AWS, and what it says of what it may not."""

import pytest

from shopstream.aws.addresses import Address, read_address
from shopstream.errors import SourceError

STREAM = "arn:aws:kinesis:eu-west-1:111122223333:stream/clicks"
QUEUE = "arn:aws-cn:sqs:cn-north-1:111122223333:orders.fifo"
DELIVERY = "arn:aws:firehose:us-east-1:111122223333:deliverystream/lake"


@pytest.mark.parametrize(
    ("to", "address", "name"),
    [
        ("kinesis://clicks", Address("kinesis", "clicks"), "clicks"),
        (
            f"kinesis://{STREAM}",
            Address("kinesis", "clicks", "eu-west-1", "111122223333", STREAM),
            "clicks",
        ),
        ("sqs://orders.fifo", Address("sqs", "orders.fifo"), "orders.fifo"),
        (
            f"sqs://{QUEUE}",
            Address("sqs", "orders.fifo", "cn-north-1", "111122223333", QUEUE),
            "orders.fifo",
        ),
        (
            "sqs://sqs.us-west-2.amazonaws.com/111122223333/q",
            Address("sqs", "https://sqs.us-west-2.amazonaws.com/111122223333/q", "us-west-2"),
            "q",
        ),
        (
            "sqs://http://localhost:4566/000000000000/q",
            Address("sqs", "http://localhost:4566/000000000000/q"),
            "q",
        ),
        (
            f"firehose://{DELIVERY}",
            Address("firehose", "lake", "us-east-1", "111122223333", DELIVERY),
            "lake",
        ),
        ("s3://mine/made/up/", Address("s3", "mine/made/up/"), "mine"),
        (
            "s3://arn:aws:s3:::mine/made/up",
            Address("s3", "mine/made/up", arn="arn:aws:s3:::mine/made/up"),
            "mine",
        ),
    ],
)
def test_an_address_keeps_all_that_was_said(to: str, address: Address, name: str) -> None:
    assert read_address(to) == address
    assert read_address(to).name == name


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("sqs://", "sqs://: wanted sqs://QUEUE"),
        ("s3:///", "s3:///: wanted s3://BUCKET/PREFIX"),
        (f"sqs://{STREAM}", "wanted sqs://arn:aws:sqs:REGION:ACCOUNT:QUEUE, or sqs://QUEUE"),
        ("kinesis://arn:aws:kinesis:eu-west-1:111122223333:clicks", ":stream/STREAM, or"),
        ("sqs://arn:aws:sqs:eu-west-1:123:q", "wanted sqs://arn:aws:sqs:REGION:ACCOUNT:QUEUE"),
        ("sqs://arn:aws:sqs:::q", "wanted sqs://arn:aws:sqs:REGION:ACCOUNT:QUEUE"),
        (
            "s3://arn:aws:s3:eu-west-1:111122223333:accesspoint/mine",
            "wanted s3://arn:aws:s3:::BUCKET/PREFIX",
        ),
    ],
)
def test_an_address_that_is_none_says_what_was_wanted(to: str, said: str) -> None:
    with pytest.raises(SourceError) as raised:
        read_address(to)
    assert said in str(raised.value)
