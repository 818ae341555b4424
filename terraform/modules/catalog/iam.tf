# Each crawler has a role of its own that reads its folders and writes only `crawled_…` tables.

data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  region  = data.aws_region.current.name
  aws     = "arn:${data.aws_partition.current.partition}"
  glue    = "${local.aws}:glue:${local.region}:${local.account}"
  buckets = {
    bronze  = [var.lake.arn]
    archive = [var.archive.arn, var.lake.arn]
    gold    = [var.lake.arn]
  }
}

data "aws_iam_policy_document" "glue" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["glue.amazonaws.com"]
    }
    # Only for our account's crawlers: no other account's Glue can be talked into using the role.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "crawler" {
  for_each = local.crawlers

  statement {
    sid       = "ReadWhatLanded"
    actions   = ["s3:GetObject"]
    resources = each.value.read
  }

  statement {
    sid       = "FindWhatLanded"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = local.buckets[each.key]
  }

  statement {
    sid = "KeepItsTables"
    actions = [
      "glue:BatchCreatePartition", "glue:BatchGetPartition", "glue:CreatePartition", "glue:CreateTable",
      "glue:GetDatabase", "glue:GetPartition", "glue:GetPartitions", "glue:GetTable", "glue:GetTables",
      "glue:UpdatePartition", "glue:UpdateTable",
    ]
    resources = [
      "${local.glue}:catalog",
      "${local.glue}:database/${var.database}",
      "${local.glue}:table/${var.database}/crawled_${each.key}_*",
    ]
  }

  statement {
    sid     = "Log"
    actions = ["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    resources = [
      "${local.aws}:logs:${local.region}:${local.account}:log-group:/aws-glue/crawlers*",
    ]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "ReadEncrypted"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "crawler" {
  for_each           = local.crawlers
  name               = "${var.prefix}-crawler-${each.key}"
  description        = "Crawler of ${each.key}: ${each.value.description}"
  assume_role_policy = data.aws_iam_policy_document.glue.json
}

resource "aws_iam_role_policy" "crawler" {
  for_each = local.crawlers
  name     = "crawl"
  role     = aws_iam_role.crawler[each.key].id
  policy   = data.aws_iam_policy_document.crawler[each.key].json
}
