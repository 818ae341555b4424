# A rule that calls a function: at times, or when something happened.

resource "aws_cloudwatch_event_rule" "this" {
  name                = var.name
  description         = var.description
  schedule_expression = var.every
  event_pattern       = var.pattern == null ? null : jsonencode(var.pattern)
}

resource "aws_cloudwatch_event_target" "this" {
  rule      = aws_cloudwatch_event_rule.this.name
  target_id = "function"
  arn       = var.function_arn
  input     = var.input == null ? null : jsonencode(var.input)

  # EventBridge's own default would try for a day: by then a scheduled run has no meaning any more.
  retry_policy {
    maximum_retry_attempts       = var.retries_max
    maximum_event_age_in_seconds = var.event_age_max_s
  }

  dead_letter_config {
    arn = var.failures_arn
  }
}

resource "aws_lambda_permission" "this" {
  statement_id  = "Rule-${var.name}"
  action        = "lambda:InvokeFunction"
  function_name = var.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.this.arn
}
