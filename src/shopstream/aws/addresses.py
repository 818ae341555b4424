"""What `simulate --to` names on AWS: a stream, queue or bucket by its name, its ARN or its URL.

An ARN, and a queue's URL, say a region too, and whose it is: both are kept.
"""

import re
from typing import NamedTuple

from shopstream.errors import SourceError

_WANTED = {
    "kinesis": ("kinesis://STREAM", "arn:aws:kinesis:REGION:ACCOUNT:stream/STREAM"),
    "sqs": ("sqs://QUEUE", "arn:aws:sqs:REGION:ACCOUNT:QUEUE"),
    "firehose": ("firehose://STREAM", "arn:aws:firehose:REGION:ACCOUNT:deliverystream/STREAM"),
    "s3": ("s3://BUCKET/PREFIX", "arn:aws:s3:::BUCKET/PREFIX"),
}
_OWNED = r"arn:[a-z-]+:{}:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{{12}}):{}(?P<place>[^:/]+)"
_ARNS = {
    "kinesis": re.compile(_OWNED.format("kinesis", "stream/")),
    "sqs": re.compile(_OWNED.format("sqs", "")),
    "firehose": re.compile(_OWNED.format("firehose", "deliverystream/")),
    # A bucket's has neither region nor account: its name is the only one of all.
    "s3": re.compile(r"arn:[a-z-]+:s3:(?P<region>):(?P<account>):(?P<place>[^:]+)"),
}
_QUEUE_HOST = re.compile(r"https?://sqs\.(?P<region>[a-z0-9-]+)\.amazonaws\.com")


class Address(NamedTuple):
    """`place` is a name, a queue's URL, or a bucket and a prefix. Without `region` and `account`
    it is in those of the environment; `arn` is empty unless it was given.
    """

    service: str
    place: str
    region: str = ""
    account: str = ""
    arn: str = ""

    @property
    def name(self) -> str:
        """The stream's, queue's or bucket's."""
        if self.service == "s3":
            return self.place.partition("/")[0]
        return self.place.rpartition("/")[2]


def read_address(to: str) -> Address:
    """The address that `to` says, one of the four schemes. Raises SourceError, saying what was
    wanted, for one that names nothing or something of another service. Asks AWS nothing.
    """
    scheme, _, place = to.partition("://")
    wanted, arn = _WANTED[scheme]
    if place.startswith("arn:"):
        found = _ARNS[scheme].fullmatch(place)
        if found is None:
            raise SourceError(f"{to}: wanted {scheme}://{arn}, or {wanted}")
        return Address(scheme, **found.groupdict(), arn=place)
    if not place.strip("/"):
        raise SourceError(f"{to}: wanted {wanted}")
    if scheme == "sqs" and "/" in place:
        url = place if "://" in place else f"https://{place}"
        host = _QUEUE_HOST.match(url)
        return Address(scheme, url, region=host["region"] if host else "")
    return Address(scheme, place)
