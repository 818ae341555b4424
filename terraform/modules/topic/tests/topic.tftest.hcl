mock_provider "aws" {
  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:shop-alerts" }
  }
}

variables {
  name         = "shop-alerts"
  failures_arn = "arn:aws:sqs:eu-central-1:123456789012:shop-failures"
}

run "as_it_is" {
  # Nobody publishes but over tls.
  assert {
    condition     = jsondecode(aws_sns_topic_policy.this.policy).Statement[0].Effect == "Deny" && length(jsondecode(aws_sns_topic_policy.this.policy).Statement) == 1
    error_message = "Plain HTTP is let in, or somebody who wasn't named."
  }
}

run "with_all_who_send_and_hear" {
  variables {
    emails     = ["ops@example.com"]
    queues     = { large = { arn = "arn:aws:sqs:eu-central-1:123456789012:large", filter = { kind = ["large_order"] } } }
    publishers = { Alarms = { service = "cloudwatch.amazonaws.com", account = "123456789012" } }
  }

  # What a subscriber could not be given is kept.
  assert {
    condition     = alltrue([for subscription in aws_sns_topic_subscription.this : jsondecode(subscription.redrive_policy).deadLetterTargetArn == var.failures_arn])
    error_message = "A subscription without dead letters loses messages."
  }

  assert {
    condition     = jsondecode(aws_sns_topic_subscription.this["large"].filter_policy) == { kind = ["large_order"] } && aws_sns_topic_subscription.this["large"].raw_message_delivery
    error_message = "The queue gets what it didn't ask for."
  }

  # A service publishes only for the account.
  assert {
    condition     = jsondecode(aws_sns_topic_policy.this.policy).Statement[1].Condition.StringEquals["aws:SourceAccount"] == "123456789012"
    error_message = "Anybody's alarms can publish."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # What is no address is refused.
    emails = ["ops"]
    # A fifo queue for failures is refused.
    failures_arn = "arn:aws:sqs:eu-central-1:123456789012:shop-failures.fifo"
  }

  expect_failures = [var.emails, var.failures_arn]
}
