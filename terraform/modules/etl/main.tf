# The Glue 5 job that builds silver and gold with Spark, where Athena's builds take too long.
#
# Its script is the package's own `shopstream.lake.spark`; the package comes beside it as a zip. A run
# takes what is new, audits it and publishes it, each table in one Iceberg commit.

resource "aws_s3_object" "script" {
  bucket      = var.artifacts.bucket
  key         = "glue/${filemd5(var.script_file)}/build.py"
  source      = var.script_file
  source_hash = filemd5(var.script_file)
}

resource "aws_s3_object" "package" {
  bucket      = var.artifacts.bucket
  key         = "glue/${filemd5(var.package_file)}/shopstream.zip"
  source      = var.package_file
  source_hash = filemd5(var.package_file)
}

locals {
  warehouse = "s3://${var.lake.bucket}/warehouse/"
  catalog   = "spark.sql.catalog.${var.catalog}"
  # Tables are registered in Glue's catalog, where Athena finds them.
  conf = {
    "spark.sql.extensions"          = "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions"
    (local.catalog)                 = "org.apache.iceberg.spark.SparkCatalog"
    "${local.catalog}.catalog-impl" = "org.apache.iceberg.aws.glue.GlueCatalog"
    "${local.catalog}.io-impl"      = "org.apache.iceberg.aws.s3.S3FileIO"
    "${local.catalog}.warehouse"    = local.warehouse
  }
}

resource "aws_glue_job" "build" {
  name                   = "${var.prefix}-build"
  description            = "Builds silver and gold of bronze."
  role_arn               = aws_iam_role.job.arn
  glue_version           = "5.0"
  worker_type            = var.worker_type
  number_of_workers      = var.workers
  execution_class        = "STANDARD"
  timeout                = var.timeout_minutes
  max_retries            = 0 # the next run by the clock takes it up; a table that fails its tests would fail again
  security_configuration = aws_glue_security_configuration.job.name

  command {
    name            = "glueetl"
    python_version  = "3"
    script_location = "s3://${var.artifacts.bucket}/${aws_s3_object.script.key}"
  }

  # Two builds at once would undo each other's commits.
  execution_property {
    max_concurrent_runs = 1
  }

  default_arguments = merge(
    {
      "--extra-py-files"                   = "s3://${var.artifacts.bucket}/${aws_s3_object.package.key}"
      "--additional-python-modules"        = join(",", var.python_modules)
      "--datalake-formats"                 = "iceberg"
      "--conf"                             = join(" --conf ", [for name, value in local.conf : "${name}=${value}"])
      "--bronze"                           = "s3://${var.lake.bucket}/bronze"
      "--archive"                          = "s3://${var.archive.bucket}/offers"
      "--warehouse"                        = local.warehouse
      "--catalog"                          = var.catalog
      "--database"                         = var.database
      "--enable-metrics"                   = "true"
      "--enable-continuous-cloudwatch-log" = "true"
      "--TempDir"                          = "s3://${var.artifacts.bucket}/glue/temp/"
    },
    var.arguments,
  )
}

resource "aws_glue_trigger" "build" {
  count       = var.schedule == null ? 0 : 1
  name        = "${var.prefix}-build"
  description = "Starts the build."
  type        = "SCHEDULED"
  schedule    = var.schedule

  actions {
    job_name = aws_glue_job.build.name
  }
}

# A run that failed, didn't end in time, or did not publish a table, which ends it as failed too.
resource "aws_cloudwatch_event_rule" "failed" {
  name        = "${var.prefix}-build-failed"
  description = "A run of the Spark job did not end well."

  event_pattern = jsonencode({
    source      = ["aws.glue"]
    detail-type = ["Glue Job State Change"]
    detail = {
      jobName = [aws_glue_job.build.name]
      state   = ["ERROR", "FAILED", "TIMEOUT"]
    }
  })
}

resource "aws_cloudwatch_event_target" "failed" {
  rule      = aws_cloudwatch_event_rule.failed.name
  target_id = "alarms"
  arn       = var.alarms_arn

  input_transformer {
    input_paths = {
      job     = "$.detail.jobName"
      run     = "$.detail.jobRunId"
      state   = "$.detail.state"
      message = "$.detail.message"
    }
    input_template = "\"The Glue job <job> ended with <state>: <message> Tables that were not published keep their last good rows. Run <run>; its log, in /aws-glue/jobs/error, says which and why (runbook: the lake).\""
  }

  dead_letter_config {
    arn = var.failures_arn
  }
}

# Without a key of ours the data still is encrypted, by S3; Glue's logs and bookmarks can't be.
resource "aws_glue_security_configuration" "job" {
  name = "${var.prefix}-build"

  encryption_configuration {
    s3_encryption {
      s3_encryption_mode = var.kms_key_arn == null ? "SSE-S3" : "SSE-KMS"
      kms_key_arn        = var.kms_key_arn
    }
    cloudwatch_encryption {
      cloudwatch_encryption_mode = var.kms_key_arn == null ? "DISABLED" : "SSE-KMS"
      kms_key_arn                = var.kms_key_arn
    }
    job_bookmarks_encryption {
      job_bookmarks_encryption_mode = var.kms_key_arn == null ? "DISABLED" : "CSE-KMS"
      kms_key_arn                   = var.kms_key_arn
    }
  }
}
