output "collector_url" {
  description = "Where shops send events: the same paths as those of `shopstream up`."
  value       = one(concat(module.http_api[*].url, module.rest_api[*].url))
}

output "environment" {
  description = "What the command line needs to work on this deployment; `eval \"$(terraform output -raw environment)\"`."
  value = join("\n", [
    "export SHOPSTREAM_ENGINE=aws",
    "export SHOPSTREAM_AWS_PREFIX=${var.prefix}",
    "export SHOPSTREAM_AWS_ACCOUNT=${local.account}",
    "export SHOPSTREAM_AWS_CLICKS=${var.clicks}",
    "export AWS_REGION=${local.region}",
  ])
}

output "prefix" {
  description = "What all names begin with."
  value       = var.prefix
}

output "account" {
  description = "Account that it is in."
  value       = local.account
}

output "region" {
  description = "Region that it is in."
  value       = local.region
}

output "clicks_url" {
  description = "Where clicks and carts go, for `shopstream load --to`."
  value       = module.clicks.url
}

output "clicks_queue_url" {
  description = "URL of the queue of clicks; null with Kinesis."
  value       = module.clicks.queue_url
}

output "orders_queue_url" {
  description = "URL of the queue of orders and stock levels."
  value       = module.orders.url
}

output "dead_letters" {
  description = "Names of the queues whose messages somebody should look at."
  value = merge(
    { orders = module.orders.dead_letter_name, failures = module.failures.name },
    module.clicks.dead_letter_name == null ? {} : { clicks = module.clicks.dead_letter_name },
  )
}

output "buckets" {
  description = "Buckets by what they are for."
  value       = { for name, bucket in module.bucket : name => bucket.name }
}

output "tables" {
  description = "DynamoDB tables by what they are called in shopstream."
  value       = { for name, table in module.table : name => table.name }
}

output "functions" {
  description = "Lambda functions by what they do."
  value       = { for name, function in module.function : name => function.name }
}

output "topics" {
  description = "ARNs of the SNS topics: the shop's alerts, those about invalid orders, and alarms of the deployment."
  value       = { alerts = module.alerts.arn, invalid_orders = module.invalid_orders.arn, alarms = module.alarms.arn }
}

output "database" {
  description = "Glue database with the lake's tables."
  value       = module.catalog.database
}

output "workgroup" {
  description = "Athena workgroup to ask in."
  value       = module.athena.workgroup
}

output "reader_policy_arn" {
  description = "ARN of the policy that who asks the lake needs; reader_roles and reader_groups have it."
  value       = module.athena.reader_policy_arn
}

output "crawlers" {
  description = "Glue crawlers by what they look at: `aws glue start-crawler --name`."
  value       = module.catalog.crawlers
}

output "glue_job" {
  description = "Glue job that builds silver and gold; null where Athena does."
  value       = one(module.etl[*].job_name)
}

output "dashboard" {
  description = "CloudWatch dashboard; null without full_monitoring."
  value       = module.monitoring.dashboard
}
