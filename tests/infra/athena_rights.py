"""Which rights a statement takes on Athena, which works with those of who asks: pure.

From Athena's guide: "Configure access to databases and tables in the AWS Glue Data Catalog" (each
action also takes the right on the catalog and the database), "Access to Amazon S3", "Query Apache
Iceberg tables" (every change writes metadata and makes the catalog point to it), "VACUUM"
(lists and deletes what nothing needs). Not asked for: `default`, another database, which the guide
of earlier years wanted for DDL and today's doesn't.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tests.infra.policies import Right

_FIND = ("GetDatabase", "GetTable")
_GLUE = {
    "read": _FIND,
    "create": (*_FIND, "CreateTable"),
    "change": (*_FIND, "UpdateTable"),
    # Dropping looks for partitions, and lists what is there.
    "drop": (*_FIND, "DeleteTable", "GetPartitions"),
    "list": ("GetDatabases", "GetTables"),
}
_S3 = {
    "read": ("GetObject",),
    "create": ("AbortMultipartUpload", "GetObject", "PutObject"),
    "change": ("AbortMultipartUpload", "GetObject", "PutObject"),
    "drop": ("DeleteObject", "GetObject"),
    "tidy": ("AbortMultipartUpload", "DeleteObject", "GetObject", "PutObject"),
}
# How the builder's statements begin -> what they do to the table that they name first.
_VERBS = {
    "CREATE TABLE": "create",
    "ALTER TABLE": "change",
    "MERGE INTO": "change",
    "OPTIMIZE": "change",
    "VACUUM": "tidy",
    "DROP TABLE": "drop",
}
_PLACE = re.compile(r"\bLOCATION\b[ =]+'s3://([^']+)'", re.IGNORECASE)
_LISTED = "information_schema.columns"


class Lake(NamedTuple):
    """Where tables are. `places` are those that nobody here makes, by name, and `warehouse` and
    `results` folders: all `bucket/path` without a slash at the end. `here` is `region:account`.
    """

    here: str
    database: str
    places: Mapping[str, str]
    warehouse: str
    results: str


def athena_rights(text: str, lake: Lake) -> set[Right]:
    """What a statement takes, the writing of its answer included. Raises ValueError for one whose
    beginning or whose tables are not known here.
    """
    needed = _answer(lake.results)
    verb = next((verb for verb in _VERBS if text.startswith(verb)), "")
    if not verb and not text.startswith(("SELECT", "WITH")):
        raise ValueError(f"not known here: {text[:60]}")
    if _LISTED in text:
        return needed | _glue("list", "", lake)
    name = rf"[\"`]?\b{re.escape(lake.database)}[\"`]?\.[\"`]?(\w+)"
    tables = re.findall(name, text)
    if not tables:
        raise ValueError(f"names no table: {text[:60]}")
    if verb:
        place = _PLACE.search(text)
        where = place[1].rstrip("/") if place else _place(tables[0], lake)
        needed |= _on(_VERBS[verb], tables[0], where, lake)
    for table in tables:
        needed |= _on("read", table, _place(table, lake), lake)
    return needed


def _place(table: str, lake: Lake) -> str:
    if table.startswith("staged_"):
        return f"{lake.warehouse}/staged/{table}"
    return lake.places.get(table, f"{lake.warehouse}/{table}")


def _on(does: str, table: str, place: str, lake: Lake) -> set[Right]:
    """What is done to a table: in the catalog, to its objects, and finding them."""
    bucket, _, path = place.partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    found = _glue("change" if does == "tidy" else does, table, lake)
    found |= {Right(f"s3:{action}", f"{arn}/{path}/any") for action in _S3[does]}
    return found | {
        Right("s3:GetBucketLocation", arn),
        Right("s3:ListBucket", arn, (("s3:prefix", f"{path}/"),)),
    }


def _glue(does: str, table: str, lake: Lake) -> set[Right]:
    parts = ["catalog", f"database/{lake.database}"]
    parts += [f"table/{lake.database}/{table or '*'}"]
    databases = ("GetDatabase", "GetDatabases")
    return {
        Right(f"glue:{action}", f"arn:aws:glue:{lake.here}:{part}")
        for action in _GLUE[does]
        for part in (parts[:2] if action in databases else parts)
    }


def _answer(results: str) -> set[Right]:
    bucket, _, path = results.partition("/")
    arn = f"arn:aws:s3:::{bucket}"
    kept = ("AbortMultipartUpload", "GetObject", "PutObject")
    found = {Right(f"s3:{action}", f"{arn}/{path}/any") for action in kept}
    return found | {
        Right("s3:GetBucketLocation", arn),
        Right("s3:ListBucket", arn, (("s3:prefix", f"{path}/"),)),
    }
