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
          # Before it lists a folder, Hadoop's file system asks for objects called as it is, with and without
          # `_$folder$`. Without a right on these S3 answers 403 and not 404, and it gives up.
          Sid      = "ReadWhatLandedAndItsOwnCode"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = ["${var.lake.arn}/bronze*", "${var.archive.arn}/offers*", "${var.artifacts.arn}/glue*"]
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
          Sid      = "FindTheDatabase"
          Effect   = "Allow"
          Action   = ["glue:GetDatabase", "glue:GetDatabases"]
          Resource = ["${local.glue}:catalog", "${local.glue}:database/${var.database}"]
        },
        {
          Sid    = "KeepTheTables"
          Effect = "Allow"
          Action = ["glue:CreateTable", "glue:GetTable", "glue:GetTables", "glue:UpdateTable"]
          Resource = [
            "${local.glue}:catalog",
            "${local.glue}:database/${var.database}",
            "${local.glue}:table/${var.database}/silver_*",
            "${local.glue}:table/${var.database}/gold_*",
            "${local.glue}:table/${var.database}/staged_*",
          ]
        },
        {
          # Only of what it staged: a table that readers know is never taken away.
          Sid    = "TidyUp"
          Effect = "Allow"
          Action = ["glue:DeleteTable"]
          Resource = [
            "${local.glue}:catalog",
            "${local.glue}:database/${var.database}",
            "${local.glue}:table/${var.database}/staged_*",
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
