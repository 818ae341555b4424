data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  region  = data.aws_region.current.name
  aws     = "arn:${data.aws_partition.current.partition}"
  glue    = "${local.aws}:glue:${local.region}:${local.account}"
}

data "aws_iam_policy_document" "glue" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["glue.amazonaws.com"]
    }
    # Only for our account's jobs: no other account's Glue can be talked into using the role.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

data "aws_iam_policy_document" "job" {
  statement {
    sid     = "ReadWhatLandedAndItsOwnCode"
    actions = ["s3:GetObject"]
    resources = [
      "${var.lake.arn}/bronze/*", "${var.archive.arn}/offers/*", "${var.artifacts.arn}/glue/*",
    ]
  }

  statement {
    sid       = "WriteTheTables"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.lake.arn}/warehouse/*", "${var.artifacts.arn}/glue/temp/*"]
  }

  statement {
    sid       = "FindFiles"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.lake.arn, var.archive.arn, var.artifacts.arn]
  }

  statement {
    sid = "KeepTheCatalog"
    actions = [
      "glue:CreateTable", "glue:GetDatabase", "glue:GetDatabases", "glue:GetTable", "glue:GetTables", "glue:UpdateTable",
    ]
    resources = [
      "${local.glue}:catalog",
      "${local.glue}:database/${var.database}",
      "${local.glue}:table/${var.database}/silver_*",
      "${local.glue}:table/${var.database}/gold_*",
    ]
  }

  statement {
    sid       = "Log"
    actions   = ["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${local.aws}:logs:${local.region}:${local.account}:log-group:/aws-glue/jobs*"]
  }

  # CloudWatch knows no resources here; the condition holds it to Glue's own metrics.
  statement {
    sid       = "CountMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = ["Glue"]
    }
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "UseTheKey"
      actions   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "job" {
  name               = "${var.prefix}-build"
  description        = "The Glue job that builds silver and gold."
  assume_role_policy = data.aws_iam_policy_document.glue.json
}

resource "aws_iam_role_policy" "job" {
  name   = "build"
  role   = aws_iam_role.job.id
  policy = data.aws_iam_policy_document.job.json
}
