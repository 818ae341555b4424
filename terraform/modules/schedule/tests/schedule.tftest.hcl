mock_provider "aws" {
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-central-1:123456789012:rule/shop-cart-watcher" }
  }
}

variables {
  name          = "shop-cart-watcher"
  description   = "Each minute."
  every         = "rate(1 minute)"
  function_name = "shop-CartWatcher"
  function_arn  = "arn:aws:lambda:eu-central-1:123456789012:function:shop-CartWatcher"
  failures_arn  = "arn:aws:sqs:eu-central-1:123456789012:shop-failures"
}

run "as_it_is" {
  # The rule may call the function and nobody else.
  assert {
    condition     = aws_lambda_permission.this.principal == "events.amazonaws.com" && aws_lambda_permission.this.source_arn == aws_cloudwatch_event_rule.this.arn
    error_message = "Any rule of any account could call the function."
  }

  # A call that was not taken is tried again and then kept.
  assert {
    condition     = aws_cloudwatch_event_target.this.retry_policy[0].maximum_retry_attempts > 0 && aws_cloudwatch_event_target.this.retry_policy[0].maximum_event_age_in_seconds <= 86400
    error_message = "A call is lost, or tried for ever."
  }

  assert {
    condition     = aws_cloudwatch_event_target.this.dead_letter_config[0].arn == var.failures_arn
    error_message = "Nobody hears of a call that was given up."
  }
}

run "a_pattern_instead_of_times" {
  variables {
    every   = null
    pattern = { source = ["aws.s3"] }
  }

  assert {
    condition     = jsondecode(aws_cloudwatch_event_rule.this.event_pattern) == { source = ["aws.s3"] } && aws_cloudwatch_event_rule.this.schedule_expression == null
    error_message = "The rule matches something else."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # Neither is refused.
    every = null
    # A rule may be called so, a permission may not.
    name = "shop.cart-watcher"
  }

  expect_failures = [var.pattern, var.name]
}
