mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/shop-build" }
  }
}

variables {
  prefix         = "shop"
  script_file    = "./tests/files/job.py"
  package_file   = "./tests/files/package.zip"
  artifacts      = { bucket = "shop-artifacts", arn = "arn:aws:s3:::shop-artifacts" }
  lake           = { bucket = "shop-lake", arn = "arn:aws:s3:::shop-lake" }
  archive        = { bucket = "shop-offers", arn = "arn:aws:s3:::shop-offers" }
  database       = "ecommerce_analytics_db"
  python_modules = ["msgspec==0.20.0", "zstandard==0.25.0"]
  alarms_arn     = "arn:aws:sns:eu-central-1:123456789012:shop-alarms"
  failures_arn   = "arn:aws:sqs:eu-central-1:123456789012:shop-failures"
}

run "it_is_one_spark_job_that_ends_and_never_starts_by_itself" {
  command = plan

  assert {
    condition     = aws_glue_job.build.glue_version == "5.0"
    error_message = "The models are tested on Spark 3.5, which is Glue 5."
  }
  assert {
    condition     = aws_glue_job.build.execution_property[0].max_concurrent_runs == 1
    error_message = "Two builds at once undo each other's commits."
  }
  assert {
    condition     = aws_glue_job.build.timeout == 60
    error_message = "A run that hangs would cost for two days."
  }
  assert {
    condition     = strcontains(aws_glue_job.build.default_arguments["--conf"], "spark.sql.catalog.glue_catalog.catalog-impl=org.apache.iceberg.aws.glue.GlueCatalog")
    error_message = "Athena would not find what the job builds."
  }
  assert {
    condition     = length(split(" --conf ", aws_glue_job.build.default_arguments["--conf"])) == 5
    error_message = "Glue takes several settings as one argument, with --conf between them."
  }
  assert {
    condition     = aws_glue_job.build.default_arguments["--bronze"] == "s3://shop-lake/bronze"
    error_message = "The job reads elsewhere than Firehose writes."
  }
  assert {
    condition     = aws_glue_job.build.default_arguments["--additional-python-modules"] == "msgspec==0.20.0,zstandard==0.25.0"
    error_message = "The package would miss what it needs."
  }
  assert {
    condition     = length(aws_glue_trigger.build) == 0
    error_message = "The job would run, and cost."
  }
  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_iam_role_policy.job.policy).Statement : statement.Resource
      if contains(statement.Action, "s3:PutObject")
    ])) == toset(["arn:aws:s3:::shop-lake/warehouse/*", "arn:aws:s3:::shop-artifacts/glue/temp/*"])
    error_message = "The job could write over what landed."
  }
}

run "a_users_arguments_schedule_and_key_are_passed_on" {
  command = plan
  variables {
    arguments   = { "--select" = "gold_funnel", "--bronze" = "s3://other/bronze" }
    schedule    = "cron(5 * * * ? *)"
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition     = aws_glue_job.build.default_arguments["--select"] == "gold_funnel" && aws_glue_job.build.default_arguments["--bronze"] == "s3://other/bronze"
    error_message = "Arguments are not passed on."
  }
  assert {
    condition     = aws_glue_trigger.build[0].schedule == "cron(5 * * * ? *)" && aws_glue_trigger.build[0].type == "SCHEDULED"
    error_message = "The schedule is not passed on."
  }
  assert {
    condition = (
      aws_glue_security_configuration.job.encryption_configuration[0].s3_encryption[0].s3_encryption_mode == "SSE-KMS"
      && aws_glue_security_configuration.job.encryption_configuration[0].cloudwatch_encryption[0].cloudwatch_encryption_mode == "SSE-KMS"
      && aws_glue_security_configuration.job.encryption_configuration[0].job_bookmarks_encryption[0].job_bookmarks_encryption_mode == "CSE-KMS"
    )
    error_message = "Something is not encrypted with the key."
  }
}

run "a_run_that_does_not_end_well_is_told" {
  command = plan

  assert {
    condition = (
      toset(jsondecode(aws_cloudwatch_event_rule.failed.event_pattern).detail.state) == toset(["ERROR", "FAILED", "TIMEOUT"])
      && jsondecode(aws_cloudwatch_event_rule.failed.event_pattern).detail.jobName == ["shop-build"]
    )
    error_message = "Not every end that is no success is told, or that of other jobs is."
  }
  assert {
    condition     = aws_cloudwatch_event_target.failed.arn == "arn:aws:sns:eu-central-1:123456789012:shop-alarms"
    error_message = "Nobody hears of it."
  }
  assert {
    condition     = aws_cloudwatch_event_target.failed.dead_letter_config[0].arn == "arn:aws:sqs:eu-central-1:123456789012:shop-failures"
    error_message = "What the topic doesn't take is lost."
  }
  assert {
    condition     = aws_glue_job.build.max_retries == 0
    error_message = "A table that fails its tests is built twice, and told twice."
  }
}

run "a_size_that_glue_does_not_have_is_refused" {
  command = plan
  variables {
    worker_type     = "Standard"
    workers         = 1
    timeout_minutes = 0
  }
  expect_failures = [var.worker_type, var.workers, var.timeout_minutes]
}

run "a_requirement_without_a_version_is_refused" {
  command = plan
  variables {
    python_modules = ["msgspec"]
  }
  expect_failures = [var.python_modules]
}
