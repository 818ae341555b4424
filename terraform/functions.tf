# Who works: each function, what calls it, and how much it may have.

locals {
  # Time-outs also set how long a message of a queue stays hidden (six times as long).
  functions = {
    Collector      = { handler = "collector", timeout_s = 29, memory_mib = 1769, description = "Takes events over HTTP and puts them into the logs." }
    Ingestor       = { handler = "ingestor", timeout_s = 60, memory_mib = 1024, description = "Validates clicks and carts into BrowsingEvents and bronze." }
    OfferGenerator = { handler = "offer_generator", timeout_s = 60, memory_mib = 1024, description = "Makes offers of what is new in BrowsingEvents." }
    OrderProcessor = { handler = "order_processor", timeout_s = 60, memory_mib = 1024, description = "Validates orders and stock levels, keeps them and alerts." }
    CartWatcher    = { handler = "cart_watcher", timeout_s = 55, memory_mib = 1024, description = "Fires the timers that are due: abandoned carts." }
    CartProcessor  = { handler = "cart_processor", timeout_s = 900, memory_mib = 1769, storage_mib = 4096, description = "Turns files of carts dropped into raw into the top 50 products." }
    Promotions     = { handler = "promotions", timeout_s = 900, memory_mib = 1769, storage_mib = 4096, description = "Turns processed files into the top 10 promotions of each customer." }
    LakeBuilder    = { handler = "lake_builder", timeout_s = 900, memory_mib = 1024, description = "Builds silver and gold of what has landed, on Athena." }
    Replay         = { handler = "replay", timeout_s = 300, memory_mib = 1024, description = "Enters mended events of the quarantine again." }
  }

  environment = merge(
    {
      SHOPSTREAM_ENGINE            = "aws"
      SHOPSTREAM_AWS_PREFIX        = var.prefix
      SHOPSTREAM_AWS_ACCOUNT       = local.account
      SHOPSTREAM_AWS_CLICKS        = var.clicks
      SHOPSTREAM_AWS_TRACING       = tostring(var.tracing)
      POWERTOOLS_SERVICE_NAME      = "shopstream"
      POWERTOOLS_METRICS_NAMESPACE = var.prefix
      POWERTOOLS_LOG_LEVEL         = "INFO"
    },
    { for name, value in var.settings : "SHOPSTREAM_${upper(name)}" => value },
  )

  # Who reads what. What is throttled counts as received and ends among the dead letters, so the reader
  # of a queue is kept by the queue to its reservation, or to what an account without any can spare.
  queues_read = {
    clicks = { reader = "Ingestor", arn = module.clicks.arn, on = var.clicks == "sqs" }
    orders = { reader = "OrderProcessor", arn = module.orders.arn, on = true }
  }
}

# Sent once, and not with each function: from where a shop is, that takes a minute.
resource "aws_s3_object" "functions" {
  bucket      = module.bucket["artifacts"].name
  key         = "lambda/${filesha256(var.lambda_zip)}.zip"
  source      = var.lambda_zip
  source_hash = filemd5(var.lambda_zip)
}

module "function" {
  source   = "./modules/function"
  for_each = local.functions

  name                 = "${var.prefix}-${each.key}"
  description          = each.value.description
  package              = { bucket = aws_s3_object.functions.bucket, key = aws_s3_object.functions.key, sha256 = filebase64sha256(var.lambda_zip) }
  handler              = "shopstream.aws.handlers.${each.value.handler}"
  runtime              = var.runtime
  architecture         = var.architecture
  memory_mib           = each.value.memory_mib
  storage_mib          = try(each.value.storage_mib, 512)
  timeout_s            = each.value.timeout_s
  reserved_concurrency = try(var.reserved_concurrency[each.key], -1)
  environment          = local.environment
  statements           = local.statements[each.key]

  queues = { for name, queue in local.queues_read : name => {
    arn             = queue.arn
    concurrency_max = try(max(2, var.reserved_concurrency[each.key]), var.queue_concurrency[name], null)
  } if queue.reader == each.key && queue.on }

  # Of Kinesis Lambda keeps the order of a partition key, and so of a user, whatever this is.
  kinesis_streams = { for name in ["clicks"] : name => {
    arn             = module.clicks.arn
    batch_size      = 200
    window_s        = 1
    parallelization = 4
  } if each.key == "Ingestor" && var.clicks == "kinesis" }

  # Only INSERTs: expiry removes items, and that is no news.
  table_streams = { for name in ["browsing_events"] : name => {
    arn        = module.table[name].stream_arn
    batch_size = 100
    patterns   = [jsonencode({ eventName = ["INSERT"] })]
  } if each.key == "OfferGenerator" }

  failures_arn       = module.failures.arn
  given_up_arn       = module.bucket["failures"].arn
  tracing            = var.tracing
  log_retention_days = var.log_retention_days
  kms_key_arn        = local.kms_key_arn
}

locals {
  requests_burst_max = min(2 * var.requests_per_s_max, 5000) # what an account has at most, unless AWS raises it
}

module "http_api" {
  source = "./modules/http_api"
  count  = var.firewall ? 0 : 1

  name                = "${var.prefix}-collector"
  description         = "Where shops send their events."
  function_name       = module.function["Collector"].name
  function_invoke_arn = module.function["Collector"].invoke_arn
  requests_per_s_max  = var.requests_per_s_max
  requests_burst_max  = local.requests_burst_max
  log_retention_days  = var.log_retention_days
  kms_key_arn         = local.kms_key_arn
}

module "rest_api" {
  source = "./modules/rest_api"
  count  = var.firewall ? 1 : 0

  name                = "${var.prefix}-collector"
  description         = "Where shops send their events."
  function_name       = module.function["Collector"].name
  function_invoke_arn = module.function["Collector"].invoke_arn
  requests_per_s_max  = var.requests_per_s_max
  requests_burst_max  = local.requests_burst_max
  tracing             = var.tracing
}

locals {
  rules = {
    cart-watcher = {
      function    = "CartWatcher"
      description = "Each minute: carts that have been left."
      every       = "rate(1 minute)"
      event_age   = 60 # the next call sees to it as well
    }
    lake-builder = {
      function    = "LakeBuilder"
      description = "What has landed becomes silver and gold."
      every       = var.build_schedule
      # The Spark job has no count of what landed: that, and what is made of it, is Athena's.
      input = var.builds == "athena" ? null : { select = ["bronze_tally+"] }
    }
    cart-processor = {
      function    = "CartProcessor"
      description = "A file of carts was dropped into raw."
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail      = { bucket = { name = [module.bucket["raw"].name] }, object = { key = [{ prefix = "carts/" }] } }
      }
    }
    promotions = {
      function    = "Promotions"
      description = "A file of carts was processed."
      pattern = {
        source      = ["aws.s3"]
        detail-type = ["Object Created"]
        detail      = { bucket = { name = [module.bucket["processed"].name] }, object = { key = [{ prefix = "abandoned_products/" }] } }
      }
    }
  }
}

module "schedule" {
  source   = "./modules/schedule"
  for_each = local.rules

  name            = "${var.prefix}-${each.key}"
  description     = each.value.description
  every           = try(each.value.every, null)
  pattern         = try(each.value.pattern, null)
  input           = try(each.value.input, null)
  event_age_max_s = try(each.value.event_age, 3600)
  function_name   = module.function[each.value.function].name
  function_arn    = module.function[each.value.function].arn
  failures_arn    = module.failures.arn
}

# A record of a stream that was given up lies in a bucket, whole. The queue of failures is told of it,
# so that its alarm rings and `check` counts it.
resource "aws_cloudwatch_event_rule" "given_up" {
  name        = "${var.prefix}-given-up"
  description = "Records of a stream were given up."

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail      = { bucket = { name = [module.bucket["failures"].name] } }
  })
}

resource "aws_cloudwatch_event_target" "given_up" {
  rule      = aws_cloudwatch_event_rule.given_up.name
  target_id = "failures"
  arn       = module.failures.arn
}
