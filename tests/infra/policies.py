"""Which rights an API call needs, and whether a role's policies give them: pure.

From the Service Authorization Reference: actions, and the resources they are checked against.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

ACCOUNT_WIDE = "*"
Named: TypeAlias = Mapping[str, Any]


class Right(NamedTuple):
    """An action on a resource. `context` is what conditions may ask about."""

    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


class Statement(NamedTuple):
    """A statement of a policy, with its lists as lists."""

    allows: bool
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]


def rights(service: str, operation: str, named: Named, region: str, account: str) -> list[Right]:
    """What a call needs. Raises KeyError for a call that is not known here."""
    here = f"{region}:{account}"
    match service:
        case "dynamodb":
            return _of_tables(operation, named, here)
        case "s3":
            return _of_buckets(operation, named)
        case "sqs":
            action = f"sqs:{operation.removesuffix('Batch')}"
            name = named.get("QueueName") or named["QueueUrl"].rstrip("/").rpartition("/")[2]
            return [Right(action, f"arn:aws:sqs:{here}:{name}")]
        case "kinesis":
            arn = named.get("StreamARN") or f"arn:aws:kinesis:{here}:stream/{named['StreamName']}"
            return [Right(f"kinesis:{operation}", arn)]
        case "firehose":
            name = named["DeliveryStreamName"]
            return [
                Right(f"firehose:{operation}", f"arn:aws:firehose:{here}:deliverystream/{name}")
            ]
        case "sns":
            return [Right(f"sns:{operation.removesuffix('Batch')}", named["TopicArn"])]
        case "lambda":
            name = named["FunctionName"].rpartition(":")[2]
            action = {"Invoke": "lambda:InvokeFunction"}.get(operation, f"lambda:{operation}")
            return [Right(action, f"arn:aws:lambda:{here}:function:{name}")]
        case "athena":
            # A query belongs to a workgroup, whichever way it is asked about.
            group = named.get("WorkGroup", ACCOUNT_WIDE)
            return [Right(f"athena:{operation}", f"arn:aws:athena:{here}:workgroup/{group}")]
        case "glue":
            database = named.get("DatabaseName") or named.get("Name") or ACCOUNT_WIDE
            return [Right(f"glue:{operation}", f"arn:aws:glue:{here}:database/{database}")]
        case "sts" if operation == "GetCallerIdentity":
            return []  # is always allowed
        case "cloudwatch":
            return [Right(f"cloudwatch:{operation}", ACCOUNT_WIDE)]
    raise KeyError(f"{service}:{operation}")


def _of_tables(operation: str, named: Named, here: str) -> list[Right]:
    tables = f"arn:aws:dynamodb:{here}:table"
    if operation in ("BatchWriteItem", "BatchGetItem"):
        return [Right(f"dynamodb:{operation}", f"{tables}/{name}") for name in named["Tables"]]
    if operation in ("TransactWriteItems", "TransactGetItems"):
        actions = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem"}
        actions |= {"ConditionCheck": "ConditionCheckItem", "Get": "GetItem"}
        return [
            Right(f"dynamodb:{actions[kind]}", f"{tables}/{name}") for kind, name in named["Items"]
        ]
    index = f"/index/{named['IndexName']}" if "IndexName" in named else ""
    return [Right(f"dynamodb:{operation}", f"{tables}/{named['TableName']}{index}")]


_S3 = {
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
    "ListObjects": "ListBucket",
    "HeadBucket": "ListBucket",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "ListMultipartUploads": "ListBucketMultipartUploads",
}
_OF_BUCKET = {"ListBucket", "GetBucketLocation", "ListBucketMultipartUploads"}


def _of_buckets(operation: str, named: Named) -> list[Right]:
    action = _S3.get(operation, operation)
    bucket = f"arn:aws:s3:::{named['Bucket']}"
    if action in _OF_BUCKET:
        return [Right(f"s3:{action}", bucket, (("s3:prefix", named.get("Prefix", "")),))]
    needed = [Right(f"s3:{action}", f"{bucket}/{named.get('Key', '*')}")]
    if operation == "CopyObject":
        source = str(named["CopySource"]).lstrip("/")
        needed = [Right("s3:GetObject", f"arn:aws:s3:::{source}"), *needed[:0]]
        needed.append(Right("s3:PutObject", f"{bucket}/{named['Key']}"))
    return needed


def statements(documents: Iterable[Mapping[str, Any]]) -> list[Statement]:
    """All statements of a role's policies. Raises ValueError for what isn't understood here."""
    found = []
    for document in documents:
        for one in _many(document["Statement"]):
            strange = set(one) & {"NotAction", "NotResource", "Principal", "NotPrincipal"}
            if strange:
                raise ValueError(f"{strange}: not understood here")
            conditions = tuple(
                (how, key, tuple(_many(wanted)))
                for how, keys in one.get("Condition", {}).items()
                for key, wanted in keys.items()
            )
            found.append(
                Statement(
                    one["Effect"] == "Allow",
                    tuple(_many(one["Action"])),
                    tuple(_many(one["Resource"])),
                    conditions,
                )
            )
    return found


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def covers(statement: Statement, right: Right) -> bool:
    """Whether a statement speaks about a right, its conditions being met."""
    action = right.action.lower()
    return (
        any(fnmatchcase(action, one.lower()) for one in statement.actions)
        and any(_like(right.resource, one) for one in statement.resources)
        and all(_met(condition, dict(right.context)) for condition in statement.conditions)
    )


def _like(text: str, pattern: str) -> bool:
    # IAM knows `*` and `?` only.
    return fnmatchcase(text, pattern.replace("[", "[[]"))


def _met(condition: tuple[str, str, tuple[str, ...]], context: Mapping[str, str]) -> bool:
    how, key, wanted = condition
    if key not in context:
        # Which service a key is used through, or whose the account is: not seen in a call.
        return key.startswith(("kms:", "aws:"))
    if how in ("StringEquals", "ForAnyValue:StringEquals"):
        return context[key] in wanted
    if how in ("StringLike", "ForAnyValue:StringLike", "ArnLike"):
        return any(_like(context[key], one) for one in wanted)
    raise ValueError(f"{how}: not understood here")


def allowed(right: Right, given: Iterable[Statement]) -> bool:
    """Whether the statements allow it and none denies it."""
    about = [one for one in given if covers(one, right)]
    return bool(about) and all(one.allows for one in about)


class Permission(NamedTuple):
    """An action on a resource as a policy names them."""

    action: str
    resource: str


def permissions(given: Iterable[Statement]) -> set[Permission]:
    """All that statements allow, one action and one resource each."""
    return {
        Permission(action, resource)
        for one in given
        if one.allows
        for action in one.actions
        for resource in one.resources
    }


def used(permission: Permission, needed: Iterable[Right]) -> bool:
    """Whether one of the rights needed is given by it."""
    alone = Statement(True, (permission.action,), (permission.resource,), ())
    return any(covers(alone, right) for right in needed)
