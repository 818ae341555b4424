# Nothing here costs while nobody shops: what there is costs by the request or by what is stored. What
# ticks by itself stays within what is free each month, or a few cents: a function called each minute,
# one each hour, and Lambda asking two queues whether something has come (about 1.3 million requests).

clicks          = "sqs"          # a Kinesis stream costs by the hour, on demand as well
builds          = "athena"       # by the bytes scanned; a build with nothing new asks nothing
build_schedule  = "rate(1 hour)" # so far the tables may be behind
firewall        = false          # 5 dollars a month and 1 for each rule
customer_key    = false          # 1 dollar a month, and by the call
full_monitoring = false          # ten alarms are free, a dashboard is 3 dollars a month
dashboards      = false          # QuickSight costs by the author
budget_usd      = 20             # the first two budgets are free

reserved_concurrency = {}                         # a new account has ten calls at once and can't reserve any
queue_concurrency    = { clicks = 3, orders = 2 } # half of them; raise it with the account's limit
crawler_schedule     = null                       # a crawler run is billed for ten minutes at least
