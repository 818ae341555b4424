# What a person or a tool needs to ask questions: attach it to a role or a group.

data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  glue = "arn:${data.aws_partition.current.partition}:glue:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  # `arn:aws:s3:::bucket/path/*` -> what of a bucket may be listed.
  readable = {
    for key, arn in var.readable_arns : key => {
      bucket = split("/", arn)[0]
      prefix = join("/", slice(split("/", arn), 1, length(split("/", arn))))
    }
  }
}

data "aws_iam_policy_document" "reader" {
  statement {
    sid = "AskQuestions"
    actions = [
      "athena:BatchGetNamedQuery", "athena:GetNamedQuery", "athena:GetQueryExecution", "athena:GetQueryResults",
      "athena:GetWorkGroup", "athena:ListNamedQueries", "athena:StartQueryExecution", "athena:StopQueryExecution",
    ]
    resources = [aws_athena_workgroup.this.arn]
  }

  statement {
    sid     = "SeeTheTables"
    actions = ["glue:GetDatabase", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"]
    resources = [
      "${local.glue}:catalog", "${local.glue}:database/${var.database}", "${local.glue}:table/${var.database}/*",
    ]
  }

  statement {
    sid       = "ReadTheData"
    actions   = ["s3:GetObject"]
    resources = values(var.readable_arns)
  }

  dynamic "statement" {
    for_each = local.readable
    content {
      sid       = "ListThe${replace(title(replace(statement.key, "_", " ")), " ", "")}"
      actions   = ["s3:ListBucket"]
      resources = [statement.value.bucket]
      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = [statement.value.prefix]
      }
    }
  }

  statement {
    sid       = "KeepTheResults"
    actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = ["${var.results.arn}/athena/*"]
  }

  statement {
    sid       = "FindTheResults"
    actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
    resources = [var.results.arn]
  }

  dynamic "statement" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]
    content {
      sid       = "UseTheKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_policy" "reader" {
  name        = "${var.prefix}-reader"
  description = "May ask questions in the workgroup ${var.prefix} and read the lake's tables."
  policy      = data.aws_iam_policy_document.reader.json
}
