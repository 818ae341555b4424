# shopstream on AWS: the same flows as on one machine, on Lambda. This file has what events pass
# through and are kept in; functions.tf who works on them, permissions.tf what each may do.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  kms_key_arn = one(module.key[*].arn)

  # Table of the ports -> how it differs from the others. All have pk, sk and the TTL `expires`.
  tables = {
    browsing_events = { stream_view = "NEW_IMAGE" } # the offer generator reads it
    offers          = {}
    orders          = {}
    products        = {}
    stock_levels    = {}
    quarantine      = {}
    alerts          = {}
    timers          = { indexes = { due = { hash_key = { name = "wait" }, range_key = { name = "due", type = "N" } } } }
    budgets         = {}
    ledger          = {}
    state           = {}
    idempotency     = { hash_key = { name = "id" }, range_key = null, ttl_attribute = "expiration" }
  }

  topics = ["clicks", "orders", "carts", "stock", "quarantine"]

  # Days that the functions keep things, by `settings` or else by the defaults in docs/settings.md.
  kept_days = { for name, default in {
    alerts_ttl     = "90d"
    archive_ttl    = "400d"
    events_ttl     = "30d"
    offers_ttl     = "90d"
    orders_ttl     = "400d"
    quarantine_ttl = "90d"
    } : name => ceil(
    tonumber(regex("^[0-9]+", lookup(var.settings, name, default)))
    / { s = 86400, m = 1440, h = 24, d = 1 }[regex("[smhd]$", lookup(var.settings, name, default))]
  ) }
  # `check` wants each offer of the table in the archive.
  archive_days = max(1, local.kept_days.archive_ttl, local.kept_days.offers_ttl)

  # A file that an item of a table is in has to be there as long as the item, and DynamoDB removes what
  # has expired within days. A timer's time begins when it is due.
  files_days  = max(values(local.kept_days)...) + 35
  with_a_file = ["alerts", "browsing_events", "offers", "orders", "quarantine", "stock_levels", "timers"]

  buckets = {
    lake                     = {}
    real-time-offers-archive = {}
    raw                      = { eventbridge = true }
    processed                = { eventbridge = true }
    consumption              = {}
    results                  = {}
    artifacts                = {}
    failures                 = { eventbridge = true } # records of streams that no try could process
  }

  lifecycle_rules = {
    lake = merge({
      bronze = { prefix = "bronze/", infrequent_after_days = var.bronze_infrequent_after_days, glacier_after_days = var.bronze_glacier_after_days }
      claims = { prefix = "claims/", expire_after_days = 15 } # a day longer than a dead letter may wait
      staged = { prefix = "warehouse/staged/", expire_after_days = 2 }
      orders = { prefix = "archive/orders/", expire_after_days = local.files_days }
      }, {
      for table in local.with_a_file : "items-${table}" => { prefix = "items/${table}/", expire_after_days = local.files_days }
    })
    real-time-offers-archive = { archive = {
      infrequent_after_days = local.archive_days > var.bronze_infrequent_after_days ? var.bronze_infrequent_after_days : null
      glacier_after_days    = local.archive_days > var.bronze_glacier_after_days ? var.bronze_glacier_after_days : null
      expire_after_days     = local.archive_days
    } }
    results  = { results = { expire_after_days = var.results_expire_after_days } }
    failures = { records = { expire_after_days = 14 } } # as dead letters
  }
}

module "key" {
  source = "./modules/key"
  count  = var.customer_key ? 1 : 0

  name                 = var.prefix
  deletion_window_days = var.allow_destroy ? 7 : 30
}

module "bucket" {
  source   = "./modules/bucket"
  for_each = local.buckets

  name            = "${var.prefix}-${each.key}-${local.account}"
  lifecycle_rules = try(local.lifecycle_rules[each.key], {})
  eventbridge     = try(each.value.eventbridge, false)
  force_destroy   = var.allow_destroy
  kms_key_arn     = local.kms_key_arn
}

resource "aws_s3_object" "rules" {
  count = var.rules_file == null ? 0 : 1

  bucket       = module.bucket["lake"].name
  key          = "config/rules.toml"
  content      = file(var.rules_file)
  content_type = "application/toml"
}

module "table" {
  source   = "./modules/table"
  for_each = local.tables

  name                   = "${var.prefix}-${replace(title(replace(each.key, "_", " ")), " ", "")}"
  hash_key               = try(each.value.hash_key, { name = "pk" })
  range_key              = try(each.value.range_key, { name = "sk" })
  ttl_attribute          = try(each.value.ttl_attribute, "expires")
  indexes                = try(each.value.indexes, {})
  stream_view            = try(each.value.stream_view, null)
  point_in_time_recovery = var.point_in_time_recovery
  deletion_protection    = var.deletion_protection && !var.allow_destroy
  kms_key_arn            = local.kms_key_arn
}

module "clicks" {
  source = "./modules/stream"

  prefix             = var.prefix
  kind               = var.clicks
  consumer_timeout_s = local.functions.Ingestor.timeout_s
  kms_key_arn        = local.kms_key_arn
}

module "orders" {
  source = "./modules/queue"

  name               = "${var.prefix}-orders"
  consumer_timeout_s = local.functions.OrderProcessor.timeout_s
  kms_key_arn        = local.kms_key_arn
}

# What was given up elsewhere than in a queue: records of streams, calls by rules, messages of topics.
module "failures" {
  source = "./modules/queue"

  name               = "${var.prefix}-failures"
  fifo               = false
  dead_letters       = false
  retention_days     = 14
  consumer_timeout_s = 60
  kms_key_arn        = local.kms_key_arn
  senders = {
    Rules = {
      service    = "events.amazonaws.com"
      source_arn = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${var.prefix}-*"
    }
    Topics = {
      service    = "sns.amazonaws.com"
      source_arn = "arn:${local.partition}:sns:${local.region}:${local.account}:${var.prefix}-*"
    }
  }
}

module "delivery" {
  source   = "./modules/delivery"
  for_each = toset(local.topics)

  name               = "${var.prefix}-bronze-${each.key}"
  bucket_arn         = module.bucket["lake"].arn
  prefix             = "bronze/${each.key}/"
  error_prefix       = "errors/bronze/${each.key}/"
  buffer_s           = var.lake_buffer_s
  log_retention_days = var.log_retention_days
  kms_key_arn        = local.kms_key_arn
}

module "alerts" {
  source = "./modules/topic"

  name   = "${var.prefix}-alerts"
  emails = var.alert_emails
  queues = { for name, queue in var.alert_queues : name => {
    arn    = queue.arn
    filter = length(queue.kinds) == 0 ? {} : { kind = queue.kinds }
  } }
  failures_arn = module.failures.arn
  kms_key_arn  = local.kms_key_arn
}

module "invalid_orders" {
  source = "./modules/topic"

  name         = "${var.prefix}-invalid-orders"
  emails       = var.alert_emails
  failures_arn = module.failures.arn
  kms_key_arn  = local.kms_key_arn
}

module "alarms" {
  source = "./modules/topic"

  name   = "${var.prefix}-alarms"
  emails = var.alarm_emails
  publishers = merge(
    { Alarms = { service = "cloudwatch.amazonaws.com", account = local.account } },
    # It tells of runs of the Spark job. EventBridge's guide has no condition in a topic's policy, so
    # nothing may depend on what it says.
    var.builds == "glue" ? { Events = { service = "events.amazonaws.com", account = local.account, says_account = false } } : {},
  )
  failures_arn = module.failures.arn
  kms_key_arn  = local.kms_key_arn
}
