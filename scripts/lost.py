"""Reads a plan as `terraform show -json` tells it; prints what holds data and would be removed."""

import json
import sys

# Without its key what is encrypted can't be read any more.
HOLD_DATA = {
    "aws_dynamodb_table",
    "aws_kinesis_stream",
    "aws_kms_key",
    "aws_s3_bucket",
    "aws_sqs_queue",
}

for one in json.load(sys.stdin).get("resource_changes", []):
    if one["type"] in HOLD_DATA and "delete" in one["change"]["actions"]:
        before = one["change"]["before"]
        name = before.get("name") or before.get("bucket") or before.get("description")
        sys.stdout.write(f"  {one['type']} {name}\n")
