# Alarms on everything that may stand still or be lost, each telling one topic; a composite alarm for
# whoever wants one state; a dashboard.
#
# CloudWatch gives an account ten alarm metrics for free. With `free_tier_only` the module keeps to
# them: functions and deliveries share alarms, and there is neither composite alarm nor dashboard.
#
# Silence is no alarm (`notBreaching`) everywhere: SQS stops publishing for a queue that was idle for
# six hours, Lambda and Firehose publish nothing while nothing comes, and a metric filter counts only
# what is logged. A shop asleep would otherwise be a shop on fire. What must not be silent is told by
# the age of what waits, which grows while nobody works.

locals {
  minute = 60

  dead = {
    for queue in var.dead_letter_queues : "${queue}-depth" => {
      says       = "Messages were given up: see the runbook, then redrive them."
      namespace  = "AWS/SQS"
      metric     = "ApproximateNumberOfMessagesVisible"
      dimensions = { QueueName = queue }
      statistic  = "Maximum"
      above      = 0
      period     = local.minute
      of         = 1
    }
  }

  waiting = {
    for queue, limits in var.queues : "${queue}-age" => {
      says       = "The oldest message has waited over ${limits.age_seconds_max} s: work stands still or can't keep up."
      namespace  = "AWS/SQS"
      metric     = "ApproximateAgeOfOldestMessage"
      dimensions = { QueueName = queue }
      statistic  = "Maximum"
      above      = limits.age_seconds_max
      period     = local.minute
      of         = 5
    }
  }

  # DynamoDB's streams keep a day, Kinesis here as long as it is told to: what is older is lost.
  behind = {
    for name, function in var.functions : "${name}-iterator-age" => {
      says       = "${name} is over ${var.iterator_age_seconds_max} s behind its stream, which keeps a day."
      namespace  = "AWS/Lambda"
      metric     = "IteratorAge"
      dimensions = { FunctionName = name }
      statistic  = "Maximum"
      above      = var.iterator_age_seconds_max * 1000
      period     = local.minute
      of         = 5
    } if function.iterator_age
  }

  # Lambda counts a batch of which some failed as a success: what failed in it is in the logs.
  any_error = {
    "${var.prefix}-function-errors" = {
      says       = "A function logged an error, ran out of time or died."
      namespace  = var.prefix
      metric     = "FunctionErrors"
      dimensions = {}
      statistic  = "Sum"
      above      = 0
      period     = 5 * local.minute
      of         = 1
    }
  }

  errors = {
    for name, function in var.functions : "${name}-errors" => {
      says       = "${name} failed. Its batch is retried, then set aside in the failures queue."
      namespace  = "AWS/Lambda"
      metric     = "Errors"
      dimensions = { FunctionName = name }
      statistic  = "Sum"
      above      = 0
      period     = 5 * local.minute
      of         = 1
    }
  }

  # Without a dimension Lambda counts the account's: what throttles is the account's concurrency.
  any_throttle = {
    "${var.prefix}-throttles" = {
      says       = "Lambda throttles functions of this account: ask for more concurrency."
      namespace  = "AWS/Lambda"
      metric     = "Throttles"
      dimensions = {}
      statistic  = "Sum"
      above      = 0
      period     = 5 * local.minute
      of         = 3
    }
  }

  throttles = {
    for name, function in var.functions : "${name}-throttles" => {
      says       = "${name} is throttled: its reserved concurrency, or the account's, is used up."
      namespace  = "AWS/Lambda"
      metric     = "Throttles"
      dimensions = { FunctionName = name }
      statistic  = "Sum"
      above      = 0
      period     = 5 * local.minute
      of         = 3
    }
  }

  stale = {
    for stream, delivery in var.delivery : "${stream}-freshness" => {
      says       = "The oldest record not yet in bronze is over ${var.freshness_seconds_max} s old."
      namespace  = "AWS/Firehose"
      metric     = "DeliveryToS3.DataFreshness"
      dimensions = { DeliveryStreamName = stream }
      statistic  = "Maximum"
      above      = var.freshness_seconds_max
      period     = 5 * local.minute
      of         = 1
    } if !var.free_tier_only || delivery.vital
  }

  any_undelivered = {
    "${var.prefix}-delivery-errors" = {
      says       = "Firehose could not deliver to bronze: see its log groups."
      namespace  = var.prefix
      metric     = "DeliveryErrors"
      dimensions = {}
      statistic  = "Sum"
      above      = 0
      period     = 5 * local.minute
      of         = 1
    }
  }

  undelivered = {
    for stream, delivery in var.delivery : "${stream}-success" => {
      says       = "Firehose failed to deliver some of ${stream} to bronze; it retries for a day."
      namespace  = "AWS/Firehose"
      metric     = "DeliveryToS3.Success"
      dimensions = { DeliveryStreamName = stream }
      statistic  = "Average"
      below      = 1
      period     = 5 * local.minute
      of         = 1
    }
  }

  full = var.stream == null ? {} : {
    "${var.stream}-write-throttles" = {
      says       = "Kinesis refuses writes to ${var.stream}: senders must slow down, or it needs shards."
      namespace  = "AWS/Kinesis"
      metric     = "WriteProvisionedThroughputExceeded"
      dimensions = { StreamName = var.stream }
      statistic  = "Sum"
      above      = 0
      period     = local.minute
      of         = 5
    }
  }

  alarms = merge(
    local.dead, local.waiting, local.behind, local.stale, local.full, local.any_error, local.any_undelivered,
    { for name, alarm in local.any_throttle : name => alarm if var.free_tier_only },
    { for name, alarm in local.errors : name => alarm if !var.free_tier_only },
    { for name, alarm in local.throttles : name => alarm if !var.free_tier_only },
    { for name, alarm in local.undelivered : name => alarm if !var.free_tier_only },
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = each.key
  alarm_description   = each.value.says
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = try(each.value.below, null) == null ? "GreaterThanThreshold" : "LessThanThreshold"
  threshold           = try(each.value.below, null) == null ? each.value.above : each.value.below
  period              = each.value.period
  evaluation_periods  = each.value.of
  datapoints_to_alarm = each.value.of
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.topic_arn]
  ok_actions          = [var.topic_arn]

  lifecycle {
    precondition {
      condition     = !var.free_tier_only || length(local.alarms) <= 10
      error_message = "${length(local.alarms)} alarms, and CloudWatch gives ten for free: watch fewer queues and streams, or set free_tier_only to false."
    }
  }
}

# Told by the alarms themselves: this one has the state of all for a page, a pager or a deployment.
resource "aws_cloudwatch_composite_alarm" "health" {
  count             = var.free_tier_only ? 0 : 1
  alarm_name        = "${var.prefix}-health"
  alarm_description = "Any alarm of ${var.prefix} is on."
  alarm_rule        = join(" OR ", [for name in sort(keys(local.alarms)) : "ALARM(\"${name}\")"])
  alarm_actions     = var.pager_topic_arns
  ok_actions        = var.pager_topic_arns
  depends_on        = [aws_cloudwatch_metric_alarm.this]
}
