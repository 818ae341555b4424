# What each function may do, besides what its module gives it for its own log, sources and failures.
# Each
# action is one that the function calls; the end-to-end test compares the two.

locals {
  table_arns  = { for name, table in module.table : name => table.arn }
  bucket_arns = { for name, bucket in module.bucket : name => bucket.arn }

  read_items  = ["dynamodb:GetItem", "dynamodb:Query"]
  write_items = ["dynamodb:BatchWriteItem", "dynamodb:PutItem"]

  recorded_tables = ["alerts", "browsing_events", "ledger", "offers", "orders", "products", "quarantine", "state", "stock_levels", "timers", "users"]

  clicks_queues = var.clicks == "sqs" ? [module.clicks.arn, module.clicks.dead_letter_arn] : []

  # Blocks that several functions have.
  send_orders = { sid = "SendOrders", actions = tolist(["sqs:GetQueueUrl", "sqs:SendMessage"]), resources = tolist([module.orders.arn]) }
  send_clicks = {
    sid       = "SendClicks"
    actions   = var.clicks == "sqs" ? tolist(["sqs:GetQueueUrl", "sqs:SendMessage"]) : tolist(["kinesis:PutRecords"])
    resources = tolist([module.clicks.arn])
  }
  send_large = { sid = "SendLarge", actions = tolist(["s3:PutObject"]), resources = tolist(["${local.bucket_arns["lake"]}/claims/*"]) }
  find = { # without it what isn't there is "forbidden", not "not found"
    sid       = "FindInLake"
    actions   = tolist(["s3:ListBucket"])
    resources = tolist([local.bucket_arns["lake"]])
  }
  read_rules = { sid = "ReadRules", actions = tolist(["s3:GetObject"]), resources = tolist(["${local.bucket_arns["lake"]}/config/rules.toml"]) }
  alert = {
    sid       = "Alert"
    actions   = tolist(["sns:Publish"])
    resources = tolist([module.alerts.arn, module.invalid_orders.arn])
  }

  take_records = [
    { sid = "ReadTables", actions = tolist(local.read_items), resources = tolist([for name in local.recorded_tables : local.table_arns[name]]) },
    { sid = "WriteTables", actions = tolist(local.write_items), resources = tolist([for name in local.recorded_tables : local.table_arns[name]]) },
    {
      sid       = "ReadLarge"
      actions   = tolist(["s3:GetObject"])
      resources = tolist([for prefix in ["claims", "items"] : "${local.bucket_arns["lake"]}/${prefix}/*"])
    },
    {
      sid       = "KeepLarge"
      actions   = tolist(["s3:PutObject"])
      resources = tolist([for prefix in ["archive", "bronze", "items"] : "${local.bucket_arns["lake"]}/${prefix}/*"])
    },
    {
      sid       = "Land"
      actions   = tolist(["firehose:PutRecordBatch"])
      resources = tolist([for delivery in module.delivery : delivery.arn])
    },
    {
      sid       = "NotifyOnce"
      actions   = tolist(["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"])
      resources = tolist([local.table_arns["idempotency"]])
    },
    local.alert,
    local.find,
  ]

  make_offers = [
    { sid = "ReadTables", actions = tolist(local.read_items), resources = tolist([for name in ["browsing_events", "offers", "state", "timers", "users"] : local.table_arns[name]]) },
    { sid = "WriteTables", actions = tolist(local.write_items), resources = tolist([for name in ["ledger", "offers", "quarantine", "timers"] : local.table_arns[name]]) },
    { sid = "SpendBudgets", actions = tolist(["dynamodb:UpdateItem"]), resources = tolist([local.table_arns["budgets"]]) },
    { sid = "ArchiveOffers", actions = tolist(["s3:PutObject"]), resources = tolist(["${local.bucket_arns["real-time-offers-archive"]}/offers/*"]) },
    { sid = "ReadLarge", actions = tolist(["s3:GetObject"]), resources = tolist(["${local.bucket_arns["lake"]}/items/*"]) },
    local.read_rules,
    local.find,
  ]

  statements = {
    Collector = [
      local.send_clicks,
      local.send_orders,
      local.send_large,
      local.find,
      { sid = "ReadKeys", actions = tolist(["s3:GetObject"]), resources = tolist(["${local.bucket_arns["lake"]}/config/keys.json"]) },
      { sid = "LookUp", actions = tolist(["dynamodb:Query"]), resources = tolist([for name in ["browsing_events", "offers", "orders"] : local.table_arns[name]]) },
      {
        sid       = "SeeHealth"
        actions   = tolist(["sqs:GetQueueAttributes", "sqs:GetQueueUrl"])
        resources = tolist(concat(local.clicks_queues, [module.orders.arn, module.orders.dead_letter_arn, module.failures.arn]))
      },
    ]
    Ingestor       = local.take_records
    OrderProcessor = local.take_records
    OfferGenerator = local.make_offers
    CartWatcher = concat(local.make_offers, [
      { sid = "FindDueTimers", actions = tolist(["dynamodb:Query"]), resources = tolist(values(module.table["timers"].index_arns)) },
      { sid = "RememberWatermark", actions = tolist(["dynamodb:PutItem"]), resources = tolist([local.table_arns["state"]]) },
    ])
    CartProcessor = [
      { sid = "ReadRaw", actions = tolist(["s3:GetObject"]), resources = tolist(["${local.bucket_arns["raw"]}/carts/*"]) },
      { sid = "KeepFailed", actions = tolist(["s3:PutObject"]), resources = tolist(["${local.bucket_arns["raw"]}/failed/*"]) },
      { sid = "WriteProcessed", actions = tolist(["s3:PutObject"]), resources = tolist(["${local.bucket_arns["processed"]}/*"]) },
      { sid = "KeepState", actions = tolist(["dynamodb:GetItem", "dynamodb:PutItem"]), resources = tolist([local.table_arns["state"]]) },
      local.send_clicks,
      local.send_large,
    ]
    Promotions = [
      { sid = "ReadProcessed", actions = tolist(["s3:GetObject"]), resources = tolist(["${local.bucket_arns["processed"]}/*"]) },
      { sid = "WriteConsumption", actions = tolist(["s3:PutObject"]), resources = tolist(["${local.bucket_arns["consumption"]}/promotions/*"]) },
    ]
    LakeBuilder = [
      { sid = "KeepState", actions = tolist(["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]), resources = tolist([local.table_arns["state"]]) },
      {
        sid       = "Query"
        actions   = tolist(["athena:GetQueryExecution", "athena:GetQueryResults", "athena:StartQueryExecution", "athena:StopQueryExecution"])
        resources = tolist(["arn:${local.partition}:athena:${local.region}:${local.account}:workgroup/${var.prefix}"])
      },
      {
        sid     = "Catalog"
        actions = tolist(["glue:CreateTable", "glue:DeleteTable", "glue:GetDatabase", "glue:GetPartitions", "glue:GetTable", "glue:GetTables", "glue:UpdateTable"])
        resources = tolist([for part in ["catalog", "database/${local.database}", "table/${local.database}/*"] :
        "arn:${local.partition}:glue:${local.region}:${local.account}:${part}"])
      },
      {
        sid       = "ReadBronze"
        actions   = tolist(["s3:GetObject"])
        resources = tolist(["${local.bucket_arns["lake"]}/bronze/*", "${local.bucket_arns["real-time-offers-archive"]}/offers/*"])
      },
      {
        sid       = "WriteWarehouse"
        actions   = tolist(["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"])
        resources = tolist(["${local.bucket_arns["lake"]}/warehouse/*"])
      },
      {
        sid       = "WriteResults"
        actions   = tolist(["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"])
        resources = tolist(["${local.bucket_arns["results"]}/athena/*"])
      },
      {
        sid       = "FindObjects"
        actions   = tolist(["s3:GetBucketLocation", "s3:ListBucket"])
        resources = tolist([for name in ["lake", "real-time-offers-archive", "results"] : local.bucket_arns[name]])
      },
      local.alert,
    ]
    Replay = [
      { sid = "ReadQuarantine", actions = tolist(["dynamodb:Query"]), resources = tolist([local.table_arns["quarantine"]]) },
      { sid = "KeepProgress", actions = tolist(["dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem"]), resources = tolist([local.table_arns["state"]]) },
      { sid = "ReadLarge", actions = tolist(["s3:GetObject"]), resources = tolist(["${local.bucket_arns["lake"]}/items/*"]) },
      local.send_clicks,
      local.send_orders,
      local.send_large,
      local.find,
    ]
  }

}
