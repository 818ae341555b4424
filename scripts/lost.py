"""Reads a plan as `terraform show -json` tells it; prints what holds data and would be removed."""

import json
import sys

HOLD_DATA = {"aws_dynamodb_table", "aws_kinesis_stream", "aws_s3_bucket", "aws_sqs_queue"}

for one in json.load(sys.stdin).get("resource_changes", []):
    if one["type"] in HOLD_DATA and "delete" in one["change"]["actions"]:
        before = one["change"]["before"]
        sys.stdout.write(f"  {before.get('name') or before['bucket']}\n")
