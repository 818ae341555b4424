mock_provider "aws" {
  # The dashboard names the alarms.
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_resource "aws_cloudwatch_metric_alarm" {
    defaults = { arn = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:shop" }
  }
}

variables {
  prefix    = "shop"
  topic_arn = "arn:aws:sns:eu-central-1:123456789012:shop-alarms"
  functions = {
    shop-Ingestor       = { log_group = "/aws/lambda/shop-Ingestor" }
    shop-OfferGenerator = { log_group = "/aws/lambda/shop-OfferGenerator", iterator_age = true }
  }
  queues             = { "shop-orders.fifo" = { age_seconds_max = 900 }, "shop-clicks.fifo" = { age_seconds_max = 900 } }
  dead_letter_queues = ["shop-orders-dlq.fifo", "shop-clicks-dlq.fifo", "shop-failures"]
  delivery = {
    shop-bronze-clicks = { log_group = "/aws/kinesisfirehose/shop-bronze-clicks", vital = true }
    shop-bronze-orders = { log_group = "/aws/kinesisfirehose/shop-bronze-orders" }
  }
  free_tier_only = false
}

run "whatever_is_given_up_late_or_failing_is_told_and_shown" {
  command = plan

  assert {
    condition = length(setsubtract([
      "shop-orders-dlq.fifo-depth", "shop-clicks-dlq.fifo-depth", "shop-failures-depth",
      "shop-orders.fifo-age", "shop-clicks.fifo-age", "shop-OfferGenerator-iterator-age",
      "shop-Ingestor-errors", "shop-OfferGenerator-errors", "shop-Ingestor-throttles", "shop-OfferGenerator-throttles",
      "shop-bronze-clicks-freshness", "shop-bronze-orders-freshness", "shop-bronze-clicks-success", "shop-bronze-orders-success",
      "shop-function-errors", "shop-delivery-errors",
    ], output.alarm_names)) == 0
    error_message = "Something may stand still or be lost, and nobody is told."
  }
  assert {
    condition     = !contains(output.alarm_names, "shop-Ingestor-iterator-age")
    error_message = "A function of a queue has no iterator."
  }
  assert {
    condition = alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this :
      alarm.alarm_actions == toset([var.topic_arn]) && alarm.ok_actions == toset([var.topic_arn])
    ])
    error_message = "An alarm tells nobody."
  }
  assert {
    condition     = alltrue([for alarm in aws_cloudwatch_metric_alarm.this : alarm.treat_missing_data == "notBreaching"])
    error_message = "A shop asleep would be a shop on fire."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["shop-failures-depth"].threshold == 0
      && aws_cloudwatch_metric_alarm.this["shop-failures-depth"].comparison_operator == "GreaterThanThreshold"
      && aws_cloudwatch_metric_alarm.this["shop-failures-depth"].evaluation_periods == 1
    )
    error_message = "Messages given up are tolerated."
  }
  assert {
    condition = (
      aws_cloudwatch_metric_alarm.this["shop-bronze-clicks-success"].comparison_operator == "LessThanThreshold"
      && aws_cloudwatch_metric_alarm.this["shop-bronze-clicks-success"].threshold == 1
    )
    error_message = "Failed deliveries are tolerated."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["shop-OfferGenerator-iterator-age"].threshold == 900000
    error_message = "IteratorAge is in milliseconds."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["shop-orders.fifo-age"].threshold == 900
    error_message = "ApproximateAgeOfOldestMessage is in seconds."
  }
  assert {
    condition     = alltrue([for name in output.alarm_names : strcontains(aws_cloudwatch_composite_alarm.health[0].alarm_rule, "ALARM(\"${name}\")")])
    error_message = "An alarm is not in the composite one."
  }
  assert {
    condition     = length(aws_cloudwatch_composite_alarm.health[0].alarm_rule) <= 10240
    error_message = "CloudWatch takes no longer rule."
  }
  assert {
    condition     = !strcontains(aws_cloudwatch_dashboard.this[0].dashboard_body, "AWS/Kinesis")
    error_message = "There is no stream to show."
  }
  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this[0].dashboard_body).widgets : widget.type == "alarm" || try(length(widget.properties.metrics), 0) > 0])
    error_message = "A widget is empty."
  }
}

run "with_kinesis_there_is_more_to_watch" {
  command = plan
  variables {
    stream = "shop-BrowsingClickstream"
  }

  assert {
    condition     = contains(output.alarm_names, "shop-BrowsingClickstream-write-throttles")
    error_message = "A full stream is not told."
  }
  assert {
    condition     = strcontains(aws_cloudwatch_dashboard.this[0].dashboard_body, "AWS/Kinesis")
    error_message = "The stream is not on the dashboard."
  }
}

run "the_free_tier_is_enough_for_what_matters" {
  command = plan
  variables {
    free_tier_only = true
  }

  assert {
    condition     = length(output.alarm_names) == 10
    error_message = "CloudWatch gives ten alarm metrics for free."
  }
  assert {
    condition     = output.health_alarm == null && output.dashboard == null
    error_message = "Composite alarms and dashboards cost money while idle."
  }
  assert {
    condition     = length(setsubtract(["shop-function-errors", "shop-throttles", "shop-delivery-errors", "shop-bronze-clicks-freshness", "shop-failures-depth"], output.alarm_names)) == 0
    error_message = "Something that matters is not watched."
  }
  assert {
    condition     = length(distinct([for filter in concat(values(aws_cloudwatch_log_metric_filter.function_errors), values(aws_cloudwatch_log_metric_filter.delivery_errors)) : filter.metric_transformation[0].name])) == 2
    error_message = "Each metric of our own costs."
  }
}

run "more_than_the_free_tier_is_refused" {
  command = plan
  variables {
    free_tier_only = true
    queues         = { a = { age_seconds_max = 1 }, b = { age_seconds_max = 1 }, c = { age_seconds_max = 1 } }
  }
  expect_failures = [aws_cloudwatch_metric_alarm.this]
}

run "an_age_that_loses_data_is_refused" {
  command = plan
  variables {
    iterator_age_seconds_max = 86400
  }
  expect_failures = [var.iterator_age_seconds_max]
}
