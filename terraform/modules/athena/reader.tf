# What a person or a tool needs to ask questions; QuickSight too, whose own managed policy names the
# same actions on everything.

data "aws_region" "current" {}
data "aws_partition" "current" {}

locals {
  here   = "${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  athena = "arn:${data.aws_partition.current.partition}:athena:${local.here}"
  glue   = "arn:${data.aws_partition.current.partition}:glue:${local.here}"
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
            "athena:BatchGetNamedQuery", "athena:BatchGetQueryExecution", "athena:GetNamedQuery",
            "athena:GetQueryExecution", "athena:GetQueryResults", "athena:GetQueryResultsStream", "athena:GetWorkGroup",
            "athena:ListNamedQueries", "athena:ListQueryExecutions", "athena:StartQueryExecution",
            "athena:StopQueryExecution",
          ]
          Resource = [aws_athena_workgroup.this.arn]
        },
        {
          Sid    = "LookAround"
          Effect = "Allow"
          Action = [
            "athena:GetDatabase", "athena:GetDataCatalog", "athena:GetTableMetadata", "athena:ListDatabases",
            "athena:ListTableMetadata",
          ]
          Resource = ["${local.athena}:datacatalog/AwsDataCatalog"]
        },
        {
          Sid      = "SeeNames" # IAM checks these against no resource
          Effect   = "Allow"
          Action   = ["athena:ListDataCatalogs", "athena:ListEngineVersions", "athena:ListWorkGroups"]
          Resource = ["*"]
        },
        {
          Sid    = "SeeTheTables"
          Effect = "Allow"
          Action = [
            "glue:BatchGetPartition", "glue:GetDatabase", "glue:GetDatabases", "glue:GetPartition", "glue:GetPartitions",
            "glue:GetTable", "glue:GetTables",
          ]
          Resource = [
            "${local.glue}:catalog", "${local.glue}:database/${var.database}", "${local.glue}:table/${var.database}/*",
          ]
        },
        {
          Sid      = "AskForDefault" # Athena does, in some accounts, before it looks at ours
          Effect   = "Allow"
          Action   = ["glue:GetDatabase"]
          Resource = ["${local.glue}:catalog", "${local.glue}:database/default"]
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
          Action   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
          Resource = ["${var.results.arn}/athena/*"]
        },
        {
          Sid      = "FindTheResults"
          Effect   = "Allow"
          Action   = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
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

# Attached here, so that it is detached before the policy is removed: IAM refuses to delete one in use.
resource "aws_iam_role_policy_attachment" "reader" {
  for_each = var.reader_roles

  role       = each.value
  policy_arn = aws_iam_policy.reader.arn
}

resource "aws_iam_group_policy_attachment" "reader" {
  for_each = var.reader_groups

  group      = each.value
  policy_arn = aws_iam_policy.reader.arn
}
