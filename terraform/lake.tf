# What makes the lake readable: its catalog, its builds, and SQL.

locals {
  database = var.prefix == "shopstream" ? "ecommerce_analytics_db" : "${replace(var.prefix, "-", "_")}_ecommerce_analytics_db"

  places = { for name, bucket in module.bucket : name => { bucket = bucket.name, arn = bucket.arn } }
}

module "catalog" {
  source = "./modules/catalog"

  prefix                 = var.prefix
  database               = local.database
  lake                   = local.places["lake"]
  archive                = local.places["real-time-offers-archive"]
  crawler_schedule       = var.crawler_schedule
  first_day              = var.first_day
  security_configuration = one(module.etl[*].security_configuration)
  kms_key_arn            = local.kms_key_arn
}

module "athena" {
  source = "./modules/athena"

  prefix            = var.prefix
  results           = local.places["results"]
  database          = module.catalog.database
  bytes_scanned_max = var.scan_gib_max * 1024 * 1024 * 1024
  reader_roles      = var.reader_roles
  reader_groups     = var.reader_groups
  kms_key_arn       = local.kms_key_arn
  readable_arns = {
    bronze    = "${local.places["lake"].arn}/bronze/*"
    warehouse = "${local.places["lake"].arn}/warehouse/*"
    offers    = "${local.places["real-time-offers-archive"].arn}/offers/*"
  }
}

module "etl" {
  source = "./modules/etl"
  count  = var.builds == "glue" ? 1 : 0

  prefix         = var.prefix
  script_file    = var.glue_script
  package_file   = var.glue_package
  artifacts      = local.places["artifacts"]
  lake           = local.places["lake"]
  archive        = local.places["real-time-offers-archive"]
  database       = local.database
  python_modules = var.glue_python_modules
  schedule       = var.build_schedule
  kms_key_arn    = local.kms_key_arn

  worker_type     = var.glue_worker_type
  workers         = var.glue_workers
  timeout_minutes = var.glue_timeout_minutes
  alarms_arn      = module.alarms.arn
  failures_arn    = module.failures.arn
}

module "dashboards" {
  source = "./modules/dashboards"
  count  = var.dashboards ? 1 : 0

  prefix         = var.prefix
  workgroup      = module.athena.workgroup
  database       = module.catalog.database
  principal_arns = var.dashboard_principals

  # QuickSight tries the connection, as its own role, while it is made: that role must be a reader by then.
  depends_on = [module.athena]
}
