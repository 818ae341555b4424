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

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:shop-clicks.fifo" }
  }
  mock_resource "aws_kinesis_stream" {
    defaults = { arn = "arn:aws:kinesis:eu-central-1:123456789012:stream/shop-BrowsingClickstream" }
  }
}

variables {
  prefix             = "shop"
  kind               = "sqs"
  consumer_timeout_s = 60
}

run "as_it_is" {
  # A queue when nothing may cost while idle.
  assert {
    condition     = length(aws_kinesis_stream.this) == 0 && output.name == "shop-clicks.fifo" && output.dead_letter_name == "shop-clicks-dlq.fifo"
    error_message = "There must be a FIFO queue and no stream."
  }
}

run "a_stream_on_demand_when_there_is_much" {
  variables {
    kind = "kinesis"
  }

  assert {
    condition     = aws_kinesis_stream.this[0].stream_mode_details[0].stream_mode == "ON_DEMAND"
    error_message = "Somebody would have to count shards."
  }

  assert {
    condition     = aws_kinesis_stream.this[0].encryption_type == "KMS"
    error_message = "Records lie there in clear."
  }

  assert {
    condition     = output.name == "shop-BrowsingClickstream" && output.queue_url == null
    error_message = "There must be a stream and no queue."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # Another kind is refused.
    kind = "kafka"
  }

  expect_failures = [var.kind]
}
