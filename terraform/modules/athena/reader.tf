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

resource "aws_iam_policy" "reader" {
  name        = "${var.prefix}-reader"
  description = "May ask questions in the workgroup ${var.prefix} and read the lake's tables."

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid    = "AskQuestions"
          Effect = "Allow"
          Action = [
            "athena:BatchGetNamedQuery", "athena:GetNamedQuery", "athena:GetQueryExecution", "athena:GetQueryResults",
            "athena:GetWorkGroup", "athena:ListNamedQueries", "athena:StartQueryExecution", "athena:StopQueryExecution",
          ]
          Resource = [aws_athena_workgroup.this.arn]
        },
        {
          Sid    = "SeeTheTables"
          Effect = "Allow"
          Action = ["glue:GetDatabase", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"]
          Resource = [
            "${local.glue}:catalog", "${local.glue}:database/${var.database}", "${local.glue}:table/${var.database}/*",
          ]
        },
        {
          Sid      = "ReadTheData"
          Effect   = "Allow"
          Action   = ["s3:GetObject"]
          Resource = values(var.readable_arns)
        },
        {
          Sid      = "KeepTheResults"
          Effect   = "Allow"
          Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
          Resource = ["${var.results.arn}/athena/*"]
        },
        {
          Sid      = "FindTheResults"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:ListBucket"]
          Resource = [var.results.arn]
        },
      ],
      [
        for key, place in local.readable : {
          Sid       = "List${replace(title(replace(key, "_", " ")), " ", "")}"
          Effect    = "Allow"
          Action    = ["s3:ListBucket"]
          Resource  = [place.bucket]
          Condition = { StringLike = { "s3:prefix" = place.prefix } }
        }
      ],
      var.kms_key_arn == null ? [] : [{
        Sid      = "UseTheKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [var.kms_key_arn]
      }],
    )
  })
}
