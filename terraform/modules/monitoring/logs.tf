# What logs say, as metrics. All filters count into two metrics, so that they stay within the ten that
# CloudWatch gives for free; without a match there is no metric and no cost.

resource "aws_cloudwatch_log_metric_filter" "function_errors" {
  for_each       = var.functions
  name           = "${each.key}-errors"
  log_group_name = each.value.log_group
  # Terms, not JSON fields: what kills a function is said by the platform, as text.
  pattern = "?ERROR ?CRITICAL ?\"Task timed out\" ?\"Runtime exited\" ?\"Runtime.ExitError\""

  metric_transformation {
    namespace = var.prefix
    name      = "FunctionErrors"
    value     = "1"
    unit      = "Count"
  }
}

resource "aws_cloudwatch_log_metric_filter" "delivery_errors" {
  for_each       = { for stream, delivery in var.delivery : stream => delivery if delivery.log_group != null }
  name           = "${each.key}-errors"
  log_group_name = each.value.log_group
  # Firehose logs failures only: every line is one.
  pattern = ""

  metric_transformation {
    namespace = var.prefix
    name      = "DeliveryErrors"
    value     = "1"
    unit      = "Count"
  }
}
