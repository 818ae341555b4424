# Who watches it, what it costs, and what is kept off.

module "monitoring" {
  source = "./modules/monitoring"

  prefix         = var.prefix
  topic_arn      = module.alarms.arn
  free_tier_only = !var.full_monitoring

  functions = { for name, function in module.function : "${var.prefix}-${name}" => {
    log_group    = function.log_group_name
    iterator_age = name == "OfferGenerator" || (name == "Ingestor" && var.clicks == "kinesis")
  } }
  queues = merge(
    { "${var.prefix}-orders.fifo" = { age_seconds_max = 900 } },
    var.clicks == "sqs" ? { "${var.prefix}-clicks.fifo" = { age_seconds_max = 900 } } : {},
  )
  dead_letter_queues = concat(
    ["${var.prefix}-orders-dlq.fifo", "${var.prefix}-failures"],
    var.clicks == "sqs" ? ["${var.prefix}-clicks-dlq.fifo"] : [],
  )
  delivery = { for topic, delivery in module.delivery : "${var.prefix}-bronze-${topic}" => {
    log_group = delivery.log_group_name
    vital     = topic == "clicks" # the one whose freshness is watched in the free tier as well
  } }
  stream = var.clicks == "kinesis" ? "${var.prefix}-BrowsingClickstream" : null
}

module "budget" {
  source = "./modules/budget"
  count  = var.budget_usd > 0 && length(var.alarm_emails) > 0 ? 1 : 0

  prefix    = var.prefix
  limit_usd = var.budget_usd
  emails    = var.alarm_emails
}

module "waf" {
  source = "./modules/waf"
  count  = var.firewall ? 1 : 0

  prefix                   = var.prefix
  resource_arns            = { collector = module.rest_api[0].stage_arn }
  requests_per_address_max = var.requests_per_ip_max
  log_days                 = var.log_retention_days
  kms_key_arn              = local.kms_key_arn
}

# A warning of every plan and apply, and no error: somebody may look at CloudWatch instead.
check "somebody_is_told" {
  assert {
    condition     = length(var.alarm_emails) > 0
    error_message = "alarm_emails is empty: alarms are seen by who looks at CloudWatch only, and there is no budget."
  }
}
