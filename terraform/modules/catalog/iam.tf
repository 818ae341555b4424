# Each crawler has a role of its own that reads its folders and writes only `crawled_…` tables: what of
# AWSGlueServiceRole a crawler of S3 can use, on ours only. No emulator runs a crawler.

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

resource "aws_iam_role" "crawler" {
  for_each    = local.crawlers
  name        = "${var.prefix}-crawler-${each.key}"
  description = "Crawler of ${each.key}: ${each.value.description}"

  # Without a condition, as in Glue's guide: whether it says for which account it asks is said nowhere,
  # and then it couldn't take the role. Nobody can hand a role to another account's crawler.
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "glue.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "crawler" {
  for_each = local.crawlers
  name     = "crawl"
  role     = aws_iam_role.crawler[each.key].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid      = "ReadWhatLanded"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = each.value.read
        },
        {
          Sid      = "FindWhatLanded"
          Effect   = "Allow"
          Action   = ["s3:GetBucketAcl", "s3:GetBucketLocation", "s3:ListBucket"]
          Resource = local.buckets[each.key]
        },
        {
          Sid    = "SeeTheTables" # listing is checked against all of a database
          Effect = "Allow"
          Action = [
            "glue:BatchGetPartition", "glue:GetDatabase", "glue:GetPartition", "glue:GetPartitions", "glue:GetTable",
            "glue:GetTables",
          ]
          Resource = [
            "${local.glue}:catalog",
            "${local.glue}:database/${var.database}",
            "${local.glue}:table/${var.database}/*",
          ]
        },
        {
          Sid    = "KeepItsTables"
          Effect = "Allow"
          Action = [
            "glue:BatchCreatePartition", "glue:BatchUpdatePartition", "glue:CreatePartition", "glue:CreateTable",
            "glue:UpdatePartition", "glue:UpdateTable",
          ]
          Resource = [
            "${local.glue}:catalog",
            "${local.glue}:database/${var.database}",
            "${local.glue}:table/${var.database}/crawled_${each.key}_*",
          ]
        },
        {
          Sid      = "Log"
          Effect   = "Allow"
          Action   = ["logs:AssociateKmsKey", "logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${local.aws}:logs:${local.region}:${local.account}:log-group:/aws-glue/crawlers*"]
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
      var.security_configuration == null ? [] : [{
        Sid      = "SeeHowLogsAreEncrypted" # IAM checks it against no resource
        Effect   = "Allow"
        Action   = ["glue:GetSecurityConfiguration"]
        Resource = ["*"]
      }],
      var.kms_key_arn == null ? [] : [{
        Sid      = "ReadEncrypted"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [var.kms_key_arn]
      }],
    )
  })
}
