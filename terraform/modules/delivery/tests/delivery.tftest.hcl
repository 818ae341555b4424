mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/shop-bronze-clicks", id = "shop-bronze-clicks" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/kinesisfirehose/shop-bronze-clicks" }
  }
}

variables {
  name         = "shop-bronze-clicks"
  bucket_arn   = "arn:aws:s3:::shop-lake-123456789012"
  prefix       = "bronze/clicks/"
  error_prefix = "errors/bronze/clicks/"
}

run "as_it_is" {
  # Lines lie by day and hour.
  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].prefix == "bronze/clicks/dt=!{timestamp:yyyy-MM-dd}/hour=!{timestamp:HH}/"
    error_message = "Partitions are looked for elsewhere."
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].compression_format == "GZIP"
    error_message = "Bronze is stored and scanned as it came."
  }

  # What could not be written lies elsewhere and is logged.
  assert {
    condition     = startswith(aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].error_output_prefix, "errors/bronze/clicks/!{firehose:error-output-type}/")
    error_message = "Errors lie among the data."
  }

  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.extended_s3_configuration[0].cloudwatch_logging_options[0].enabled
    error_message = "Nobody can see why."
  }

  # Its role writes to its prefixes only.
  assert {
    condition = toset(flatten([for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Resource if contains(statement.Action, "s3:PutObject")])) == toset([
      "arn:aws:s3:::shop-lake-123456789012/bronze/clicks/*",
      "arn:aws:s3:::shop-lake-123456789012/errors/bronze/clicks/*",
    ])
    error_message = "It may write elsewhere."
  }

  # Records are encrypted.
  assert {
    condition     = aws_kinesis_firehose_delivery_stream.this.server_side_encryption[0].enabled
    error_message = "Records wait in clear."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # Errors among the data are refused.
    error_prefix = "bronze/clicks/errors/"
  }

  expect_failures = [var.error_prefix]
}
