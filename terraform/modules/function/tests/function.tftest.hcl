mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/shop-Ingestor", id = "shop-Ingestor" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-central-1:123456789012:function:shop-Ingestor" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/shop-Ingestor" }
  }
}

variables {
  name         = "shop-Ingestor"
  description  = "Validates clicks."
  package      = { bucket = "shop-artifacts", key = "lambda/1.zip", sha256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" }
  handler      = "shopstream.aws.handlers.ingestor"
  failures_arn = "arn:aws:sqs:eu-central-1:123456789012:shop-failures"
  statements = [
    { sid = "SendOrders", actions = ["sqs:SendMessage"], resources = ["arn:aws:sqs:eu-central-1:123456789012:shop-orders.fifo"] },
  ]
}

run "as_it_is" {
  # It runs on arm and its log ends.
  assert {
    condition     = aws_lambda_function.this.architectures == tolist(["arm64"])
    error_message = "A fifth more is paid."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.name == "/aws/lambda/shop-Ingestor" && aws_cloudwatch_log_group.this.retention_in_days == 30
    error_message = "The log is kept for ever."
  }

  assert {
    condition     = aws_lambda_function.this.reserved_concurrent_executions == -1
    error_message = "A new account can't reserve."
  }

  # Its role may do what is said and what it needs itself.
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Sid] == ["SendOrders", "WriteLogs", "WriteTraces", "ReportFailures"]
    error_message = "It may do something else."
  }

  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_role_policy.this.policy).Statement :
      statement.Resource != ["*"] || statement.Sid == "WriteTraces"
    ])
    error_message = "It may do something to everything."
  }

  # A call that nobody waits for is kept when it fails.
  assert {
    condition     = aws_lambda_function_event_invoke_config.this.destination_config[0].on_failure[0].destination == var.failures_arn
    error_message = "It is lost."
  }
}

run "with_all_it_can_read" {
  variables {
    queues          = { clicks = { arn = "arn:aws:sqs:eu-central-1:123456789012:shop-clicks.fifo", concurrency_max = 5 } }
    kinesis_streams = { clicks = { arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/shop-BrowsingClickstream", parallelization = 4 } }
    given_up_arn    = "arn:aws:s3:::shop-failures"
    table_streams = { events = {
      arn      = "arn:aws:dynamodb:eu-central-1:123456789012:table/shop-BrowsingEvents/stream/1"
      patterns = ["{\"eventName\":[\"INSERT\"]}"]
    } }
  }

  # A queue is told which messages failed.
  assert {
    condition     = contains(aws_lambda_event_source_mapping.queue["clicks"].function_response_types, "ReportBatchItemFailures")
    error_message = "One message that fails brings back the whole batch."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.queue["clicks"].batch_size <= 10 && aws_lambda_event_source_mapping.queue["clicks"].scaling_config[0].maximum_concurrency == 5
    error_message = "A FIFO queue gives at most 10; its reader must be bounded."
  }

  # One bad record does not stop a shard.
  assert {
    condition = alltrue([for mapping in aws_lambda_event_source_mapping.stream : (
      mapping.bisect_batch_on_function_error
      && mapping.maximum_retry_attempts >= 0
      && mapping.maximum_record_age_in_seconds > 0 && mapping.maximum_record_age_in_seconds < 86400
      && mapping.destination_config[0].on_failure[0].destination_arn == var.given_up_arn
      && contains(mapping.function_response_types, "ReportBatchItemFailures")
    )])
    error_message = "A record that can't be processed stops its shard until it expires."
  }

  assert {
    condition     = aws_lambda_event_source_mapping.stream["clicks"].starting_position == "TRIM_HORIZON"
    error_message = "What comes while the mapping is made is lost."
  }

  # Several batches of a table's shard at once would keep the order of an item only.
  assert {
    condition     = aws_lambda_event_source_mapping.stream["events"].parallelization_factor == 1 && aws_lambda_event_source_mapping.stream["clicks"].parallelization_factor == 4
    error_message = "A user's items come in any order, or Kinesis is read slowly."
  }

  # What was given up can be kept, whole.
  assert {
    condition     = flatten([for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Resource if contains(statement.Action, "s3:PutObject")]) == ["arn:aws:s3:::shop-failures/aws/lambda/*"]
    error_message = "Lambda can't keep what it gives up."
  }

  # Of a table only what is wanted is read.
  assert {
    condition     = one(one(aws_lambda_event_source_mapping.stream["events"].filter_criteria).filter).pattern == "{\"eventName\":[\"INSERT\"]}"
    error_message = "The function is paid to see what it doesn't want."
  }

  assert {
    condition     = contains([for statement in jsondecode(aws_iam_role_policy.this.policy).Statement : statement.Sid], "ReadTableStreams")
    error_message = "It can't read the stream."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # A wildcard in an action is refused.
    statements = [{ sid = "All", actions = ["s3:*"], resources = ["arn:aws:s3:::shop"] }]
    # Retries without end are refused.
    kinesis_streams = { clicks = { arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/s", retries_max = -1 } }
    # A reservation that throttles a queue is refused.
    reserved_concurrency = 5
    queues               = { clicks = { arn = "arn:aws:sqs:eu-central-1:123456789012:shop-clicks.fifo" } }
  }

  expect_failures = [var.statements, var.kinesis_streams, var.queues]
}

run "all_resources_are_refused" {
  command = plan

  variables {
    statements = [{ sid = "All", actions = ["s3:GetObject"], resources = ["*"] }]
    # So are records that would be lost.
    table_streams = { events = { arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/t/stream/1" } }
  }

  expect_failures = [var.statements, var.given_up_arn]
}
