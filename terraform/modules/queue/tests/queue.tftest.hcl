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
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:shop-orders-dlq.fifo" }
  }
}

variables {
  name               = "shop-orders"
  consumer_timeout_s = 60
}

run "as_it_is" {
  # A message stays hidden six times as long as its function may take.
  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds >= 6 * var.consumer_timeout_s
    error_message = "A message comes back while a function is still busy with it."
  }

  # Dead letters are kept for 14 days after 5 tries.
  assert {
    condition     = aws_sqs_queue.dead[0].message_retention_seconds == 14 * 86400
    error_message = "Dead letters must be kept 14 days."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy).maxReceiveCount >= 5
    error_message = "A message is a dead letter too soon."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy).deadLetterTargetArn == aws_sqs_queue.dead[0].arn
    error_message = "Dead letters go elsewhere."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.dead[0].redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:eu-central-1:123456789012:shop-orders.fifo"]
    error_message = "Any queue may leave dead letters here."
  }

  # The order within a group is kept at high throughput.
  assert {
    condition     = aws_sqs_queue.this.name == "shop-orders.fifo" && aws_sqs_queue.dead[0].name == "shop-orders-dlq.fifo"
    error_message = "The dead-letter queue of a FIFO queue is one, too."
  }

  assert {
    condition     = aws_sqs_queue.this.deduplication_scope == "messageGroup" && aws_sqs_queue.this.fifo_throughput_limit == "perMessageGroupId"
    error_message = "All groups share one limit."
  }

  # Nobody gets in but over tls.
  assert {
    condition = alltrue([
      for policy in [aws_sqs_queue.this.policy, aws_sqs_queue.dead[0].policy] :
      jsondecode(policy).Statement[0].Effect == "Deny" && jsondecode(policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    ])
    error_message = "Plain HTTP is let in."
  }

  # Messages are encrypted without a key of ours.
  assert {
    condition     = aws_sqs_queue.this.sqs_managed_sse_enabled && aws_sqs_queue.dead[0].sqs_managed_sse_enabled
    error_message = "Messages lie there in clear."
  }
}

run "a_queue_for_failures" {
  variables {
    fifo              = false
    consumer_window_s = 20
    kms_key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/k"
    dead_letters      = false
    senders           = { Rules = { service = "events.amazonaws.com", source_arn = "arn:aws:events:eu-central-1:123456789012:rule/shop-*" } }
  }

  # A batching window adds to it.
  assert {
    condition     = aws_sqs_queue.this.visibility_timeout_seconds == 6 * 60 + 20
    error_message = "The window must add to the time a message is hidden."
  }

  # Messages are encrypted with a key of ours.
  assert {
    condition     = aws_sqs_queue.this.kms_master_key_id == var.kms_key_arn
    error_message = "The key isn't used."
  }

  # A service may send only for what is named.
  assert {
    condition = anytrue([
      for statement in jsondecode(aws_sqs_queue.this.policy).Statement :
      statement.Effect == "Allow" && statement.Action == "sqs:SendMessage"
      && statement.Condition.ArnLike["aws:SourceArn"] == "arn:aws:events:eu-central-1:123456789012:rule/shop-*"
      if statement.Sid == "Rules"
    ])
    error_message = "The service can't send, or can send for anybody."
  }

  assert {
    condition     = length(aws_sqs_queue.dead) == 0
    error_message = "A queue for what failed needs no other."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # Fewer than 5 tries are refused.
    receive_count_max = 3
  }

  expect_failures = [var.receive_count_max]
}
