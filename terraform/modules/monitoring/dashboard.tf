data "aws_region" "current" {}

locals {
  # A widget: a title and its metrics, each [namespace, metric, dimension name, value, statistic].
  widgets = [
    {
      title   = "Waiting: age of the oldest message, seconds"
      metrics = [for queue in sort(keys(var.queues)) : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue, "Maximum"]]
    },
    {
      title   = "Given up: messages in dead-letter queues"
      metrics = [for queue in sort(var.dead_letter_queues) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue, "Maximum"]]
    },
    {
      title   = "Behind: iterator age, milliseconds"
      metrics = [for name, function in var.functions : ["AWS/Lambda", "IteratorAge", "FunctionName", name, "Maximum"] if function.iterator_age]
    },
    {
      title   = "Functions: invocations"
      metrics = [for name in sort(keys(var.functions)) : ["AWS/Lambda", "Invocations", "FunctionName", name, "Sum"]]
    },
    {
      title   = "Functions: errors"
      metrics = [for name in sort(keys(var.functions)) : ["AWS/Lambda", "Errors", "FunctionName", name, "Sum"]]
    },
    {
      title   = "Functions: throttles"
      metrics = [for name in sort(keys(var.functions)) : ["AWS/Lambda", "Throttles", "FunctionName", name, "Sum"]]
    },
    {
      title   = "Functions: duration of the slowest hundredth, milliseconds"
      metrics = [for name in sort(keys(var.functions)) : ["AWS/Lambda", "Duration", "FunctionName", name, "p99"]]
    },
    {
      title   = "Bronze: age of the oldest record not yet delivered, seconds"
      metrics = [for stream in sort(keys(var.delivery)) : ["AWS/Firehose", "DeliveryToS3.DataFreshness", "DeliveryStreamName", stream, "Maximum"]]
    },
    {
      title   = "Bronze: share of deliveries that succeeded"
      metrics = [for stream in sort(keys(var.delivery)) : ["AWS/Firehose", "DeliveryToS3.Success", "DeliveryStreamName", stream, "Average"]]
    },
    {
      title = "Stream: records in, writes refused"
      metrics = var.stream == null ? [] : [
        ["AWS/Kinesis", "IncomingRecords", "StreamName", var.stream, "Sum"],
        ["AWS/Kinesis", "WriteProvisionedThroughputExceeded", "StreamName", var.stream, "Sum"],
      ]
    },
  ]
  shown = [for widget in local.widgets : widget if length(widget.metrics) > 0]
}

resource "aws_cloudwatch_dashboard" "this" {
  count          = var.dashboard && !var.free_tier_only ? 1 : 0
  dashboard_name = var.prefix
  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm"
        x          = 0
        y          = 0
        width      = 24
        height     = 3
        properties = { title = "Alarms", alarms = [for alarm in aws_cloudwatch_metric_alarm.this : alarm.arn] }
      }],
      [
        for place, widget in local.shown : {
          type   = "metric"
          x      = 12 * (place % 2)
          y      = 3 + 6 * floor(place / 2)
          width  = 12
          height = 6
          properties = {
            title   = widget.title
            region  = data.aws_region.current.name
            view    = "timeSeries"
            stacked = false
            period  = 60
            metrics = [for metric in widget.metrics : [metric[0], metric[1], metric[2], metric[3], { stat = metric[4] }]]
          }
        }
      ],
    )
  })
}
