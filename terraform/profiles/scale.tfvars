# For many events a second, more people, and stricter rules. Some of it costs while idle.

clicks          = "kinesis" # on demand: grows to twice its last peak by itself
builds          = "glue"    # Spark, where a day no longer fits into one Athena query
build_schedule  = "cron(15 * * * ? *)"
firewall        = true
customer_key    = true
full_monitoring = true
dashboards      = false # on when the account has QuickSight
budget_usd      = 500

requests_per_s_max  = 5000
deletion_protection = true
log_retention_days  = 90
crawler_schedule    = "cron(30 3 * * ? *)"

# Each is also the most, so that a flood in one place leaves the others their share of the account's
# 1,000. Raise them with the account's limit.
reserved_concurrency = {
  Collector      = 200
  Ingestor       = 200
  OfferGenerator = 200
  OrderProcessor = 50
  CartWatcher    = 1
  CartProcessor  = 10
  Promotions     = 10
  LakeBuilder    = 1
  Replay         = 2
}
