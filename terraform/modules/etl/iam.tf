data "aws_caller_identity" "current" {}
data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  region  = data.aws_region.current.name
  aws     = "arn:${data.aws_partition.current.partition}"
  glue    = "${local.aws}:glue:${local.region}:${local.account}"
}

resource "aws_iam_role" "job" {
  name        = "${var.prefix}-build"
  description = "The Glue job that builds silver and gold."

  # Without a condition, as in Glue's guide: whether it says for which account it asks is said nowhere,
  # and then it couldn't take the role. Nobody can hand a role to another account's job.
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "glue.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "job" {
  name = "build"
  role = aws_iam_role.job.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadWhatLandedAndItsOwnCode"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = ["${var.lake.arn}/bronze/*", "${var.archive.arn}/offers/*", "${var.artifacts.arn}/glue/*"]
        },
        {
          Sid      = "WriteTheTables"
          Effect   = "Allow"
          Action   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
          Resource = ["${var.lake.arn}/warehouse/*", "${var.artifacts.arn}/glue/temp/*"]
        },
        {
          Sid      = "FindFiles"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:ListBucket"]
          Resource = [var.lake.arn, var.archive.arn, var.artifacts.arn]
        },
        {
          Sid    = "KeepTheCatalog"
          Effect = "Allow"
          Action = [
            "glue:CreateTable", "glue:GetDatabase", "glue:GetDatabases", "glue:GetTable", "glue:GetTables",
            "glue:UpdateTable",
          ]
          Resource = [
            "${local.glue}:catalog",
            "${local.glue}:database/${var.database}",
            "${local.glue}:table/${var.database}/silver_*",
            "${local.glue}:table/${var.database}/gold_*",
          ]
        },
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${local.aws}:logs:${local.region}:${local.account}:log-group:/aws-glue/jobs*"]
        },
        {
          # CloudWatch knows no resources here; the condition holds it to Glue's own metrics.
          Sid       = "CountMetrics"
          Effect    = "Allow"
          Action    = ["cloudwatch:PutMetricData"]
          Resource  = ["*"]
          Condition = { StringEquals = { "cloudwatch:namespace" = "Glue" } }
        },
      ],
      var.kms_key_arn == null ? [] : [{
        Sid      = "UseTheKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]
        Resource = [var.kms_key_arn]
      }],
    )
  })
}
