# An Athena workgroup whose settings no client can change, and the queries that people start from.
#
# A query that would scan more than `bytes_scanned_max` is cancelled: Athena bills what a query scans.
# Results are encrypted, and the bucket's lifecycle removes them. An idle workgroup costs nothing.

resource "aws_athena_workgroup" "this" {
  name          = var.prefix
  description   = "Questions to the lake, and its builds."
  force_destroy = true

  configuration {
    enforce_workgroup_configuration    = true
    publish_cloudwatch_metrics_enabled = true
    bytes_scanned_cutoff_per_query     = var.bytes_scanned_max

    engine_version {
      selected_engine_version = "Athena engine version 3"
    }

    result_configuration {
      output_location       = "s3://${var.results.bucket}/athena/"
      expected_bucket_owner = data.aws_caller_identity.current.account_id

      encryption_configuration {
        encryption_option = var.kms_key_arn == null ? "SSE_S3" : "SSE_KMS"
        kms_key_arn       = var.kms_key_arn
      }
    }
  }
}

data "aws_caller_identity" "current" {}

locals {
  # A file's first line says what the query tells, the rest is the query.
  files = {
    for file in fileset("${path.module}/queries", "*.sql") : trimsuffix(file, ".sql") => split(
      "\n", templatefile("${path.module}/queries/${file}", { database = var.database })
    )
  }
  queries = merge(
    {
      for name, lines in local.files : name => {
        description = trimprefix(lines[0], "-- ")
        sql         = join("\n", slice(lines, 1, length(lines)))
      }
    },
    var.queries,
  )
}

resource "aws_athena_named_query" "this" {
  for_each    = local.queries
  name        = each.key
  description = each.value.description
  workgroup   = aws_athena_workgroup.this.name
  database    = var.database
  query       = each.value.sql
}
