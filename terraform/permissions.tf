# What each function may do, besides what its module gives it for its own log, sources and failures.
# Each action is one that the function calls; the end-to-end test compares the two.

locals {
  table_arns  = { for name, table in module.table : name => table.arn }
  bucket_arns = { for name, bucket in module.bucket : name => bucket.arn }

  clicks_queues = var.clicks == "sqs" ? [module.clicks.arn, module.clicks.dead_letter_arn] : []

  # Blocks that several functions have.
  send_orders = { sid = "SendOrders", actions = ["sqs:GetQueueUrl", "sqs:SendMessage"], resources = [module.orders.arn] }
  send_clicks = {
    sid       = "SendClicks"
    actions   = var.clicks == "sqs" ? tolist(["sqs:GetQueueUrl", "sqs:SendMessage"]) : tolist(["kinesis:PutRecords"])
    resources = [module.clicks.arn]
  }
  send_large = { sid = "SendLarge", actions = ["s3:PutObject"], resources = ["${local.bucket_arns["lake"]}/claims/*"] }
  find = { # without it what isn't there is "forbidden", not "not found"
    sid       = "FindInLake"
    actions   = ["s3:ListBucket"]
    resources = [local.bucket_arns["lake"]]
  }
  read_rules = { sid = "ReadRules", actions = ["s3:GetObject"], resources = ["${local.bucket_arns["lake"]}/config/rules.toml"] }

  publish_alerts = [
    {
      sid       = "NotifyOnce"
      actions   = ["dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem"]
      resources = [local.table_arns["idempotency"]]
    },
    { sid = "Alert", actions = ["sns:Publish"], resources = [module.alerts.arn, module.invalid_orders.arn] },
  ]

  # Clicks may make orders, where one message is both, and orders purchases; stock comes with orders only.
  taken = {
    Ingestor       = { tables = ["alerts", "browsing_events", "ledger", "orders", "quarantine", "state"], topics = ["carts", "clicks", "orders", "quarantine"] }
    OrderProcessor = { tables = ["alerts", "browsing_events", "ledger", "orders", "products", "quarantine", "state", "stock_levels"], topics = ["orders", "quarantine", "stock"] }
  }
  take_records = { for name, taken in local.taken : name => concat(local.publish_alerts, [
    { sid = "ReadHistory", actions = ["dynamodb:Query"], resources = [local.table_arns["browsing_events"]] },
    {
      sid       = "PutWhatIsNew" # a put that finds something there reads it
      actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
      resources = [for table in taken.tables : local.table_arns[table]]
    },
    {
      sid       = "PutWhatMayBeThere"
      actions   = ["dynamodb:BatchWriteItem"]
      resources = [local.table_arns["quarantine"]]
    },
    {
      sid       = "ReadLarge"
      actions   = ["s3:GetObject"]
      resources = [for prefix in ["archive", "claims", "items"] : "${local.bucket_arns["lake"]}/${prefix}/*"]
    },
    {
      sid       = "KeepLarge"
      actions   = ["s3:PutObject"]
      resources = [for prefix in ["archive", "bronze", "items"] : "${local.bucket_arns["lake"]}/${prefix}/*"]
    },
    {
      sid       = "Land"
      actions   = ["firehose:PutRecordBatch"]
      resources = [for topic in taken.topics : module.delivery[topic].arn]
    },
    {
      sid       = "NoteTries" # of messages that were received before
      actions   = ["dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem"]
      resources = [local.table_arns["idempotency"]]
    },
    local.find,
  ]) }

  make_offers = [
    {
      sid       = "ReadHistory"
      actions   = ["dynamodb:Query"]
      resources = [for name in ["browsing_events", "offers"] : local.table_arns[name]]
    },
    {
      sid       = "PutWhatIsNew"
      actions   = ["dynamodb:GetItem", "dynamodb:PutItem"]
      resources = [for name in ["ledger", "offers", "quarantine", "timers"] : local.table_arns[name]]
    },
    { sid = "ChangeOffers", actions = ["dynamodb:BatchWriteItem"], resources = [local.table_arns["offers"]] },
    { sid = "SpendBudgets", actions = ["dynamodb:UpdateItem"], resources = [local.table_arns["budgets"]] },
    { sid = "ArchiveOffers", actions = ["s3:PutObject"], resources = ["${local.bucket_arns["real-time-offers-archive"]}/offers/*"] },
    { sid = "ReadAndKeepLarge", actions = ["s3:GetObject", "s3:PutObject"], resources = ["${local.bucket_arns["lake"]}/items/*"] },
    local.read_rules,
    local.find,
  ]

  statements = {
    Collector = concat(var.clicks == "sqs" ? [] : [
      { sid = "SeeStream", actions = ["kinesis:DescribeStreamSummary"], resources = [module.clicks.arn] },
      ], [
      local.send_clicks,
      local.send_orders,
      local.send_large,
      local.find,
      { sid = "ReadKeys", actions = ["s3:GetObject"], resources = ["${local.bucket_arns["lake"]}/config/keys.json"] },
      { sid = "LookUp", actions = ["dynamodb:Query"], resources = [for name in ["browsing_events", "offers", "orders"] : local.table_arns[name]] },
      {
        sid       = "SeeHealth"
        actions   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl"]
        resources = concat(local.clicks_queues, [module.orders.arn, module.orders.dead_letter_arn, module.failures.arn])
      },
      { sid = "ReadLarge", actions = ["s3:GetObject"], resources = ["${local.bucket_arns["lake"]}/items/*"] },
    ])
    Ingestor       = local.take_records.Ingestor
    OrderProcessor = local.take_records.OrderProcessor
    OfferGenerator = local.make_offers
    CartWatcher = concat(local.make_offers, local.publish_alerts, [
      { sid = "FindDueTimers", actions = ["dynamodb:Query"], resources = values(module.table["timers"].index_arns) },
      { sid = "RememberWatermarkAndEmptyOutbox", actions = ["dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:Query"], resources = [local.table_arns["state"]] },
    ])
    CartProcessor = [
      { sid = "ReadRaw", actions = ["s3:GetObject"], resources = ["${local.bucket_arns["raw"]}/carts/*"] },
      { sid = "KeepFailed", actions = ["s3:PutObject"], resources = ["${local.bucket_arns["raw"]}/failed/*"] },
      { sid = "WriteProcessed", actions = ["s3:PutObject"], resources = ["${local.bucket_arns["processed"]}/*"] },
      { sid = "KeepProgress", actions = ["dynamodb:BatchWriteItem", "dynamodb:GetItem"], resources = [local.table_arns["state"]] },
      local.send_clicks,
      local.send_large,
    ]
    Promotions = [
      { sid = "ReadProcessed", actions = ["s3:GetObject"], resources = ["${local.bucket_arns["processed"]}/*"] },
      { sid = "WriteConsumption", actions = ["s3:PutObject"], resources = ["${local.bucket_arns["consumption"]}/promotions/*"] },
    ]
    LakeBuilder = [
      { sid = "KeepState", actions = ["dynamodb:BatchWriteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"], resources = [local.table_arns["state"]] },
      {
        sid       = "Query"
        actions   = ["athena:GetQueryExecution", "athena:GetQueryResults", "athena:StartQueryExecution"]
        resources = ["arn:${local.partition}:athena:${local.region}:${local.account}:workgroup/${var.prefix}"]
      },
      {
        sid     = "Catalog"
        actions = ["glue:CreateTable", "glue:DeleteTable", "glue:GetDatabase", "glue:GetDatabases", "glue:GetPartitions", "glue:GetTable", "glue:GetTables", "glue:UpdateTable"]
        resources = [for part in ["catalog", "database/${local.database}", "table/${local.database}/*"] :
        "arn:${local.partition}:glue:${local.region}:${local.account}:${part}"]
      },
      {
        # Athena asks for `default` too, in some accounts, before statements that make or change a table;
        # an older guide calls both mandatory.
        sid     = "AskForDefault"
        actions = ["glue:CreateDatabase", "glue:GetDatabase"]
        resources = [for part in ["catalog", "database/default"] :
        "arn:${local.partition}:glue:${local.region}:${local.account}:${part}"]
      },
      {
        sid       = "ReadBronze"
        actions   = ["s3:GetObject"]
        resources = ["${local.bucket_arns["lake"]}/bronze/*", "${local.bucket_arns["real-time-offers-archive"]}/offers/*"]
      },
      {
        sid       = "WriteWarehouse"
        actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
        resources = ["${local.bucket_arns["lake"]}/warehouse/*"]
      },
      {
        sid       = "WriteResults"
        actions   = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
        resources = ["${local.bucket_arns["results"]}/athena/*"]
      },
      {
        sid       = "FindObjects"
        actions   = ["s3:GetBucketLocation", "s3:ListBucket"]
        resources = [for name in ["lake", "real-time-offers-archive", "results"] : local.bucket_arns[name]]
      },
    ]
    Replay = [
      { sid = "ReadQuarantine", actions = ["dynamodb:Query"], resources = [local.table_arns["quarantine"]] },
      { sid = "KeepProgress", actions = ["dynamodb:BatchWriteItem", "dynamodb:GetItem"], resources = [local.table_arns["state"]] },
      { sid = "ReadLarge", actions = ["s3:GetObject"], resources = ["${local.bucket_arns["lake"]}/items/*"] },
      local.send_clicks,
      local.send_orders,
      local.send_large,
    ]
  }
}
