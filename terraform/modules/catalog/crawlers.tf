# Crawlers look at what is really there. They write tables of their own (`crawled_…`), so that drift is
# seen by comparing and never changes a table that a build reads. They cost nothing until they run.

locals {
  crawlers = {
    bronze = {
      description = "What bronze holds, field by field."
      s3          = ["s3://${var.lake.bucket}/bronze/"]
      iceberg     = []
      read        = ["${var.lake.arn}/bronze/*"]
    }
    archive = {
      description = "The archive of offers and the archive of orders."
      s3          = ["s3://${var.archive.bucket}/offers/", "s3://${var.lake.bucket}/archive/orders/"]
      iceberg     = []
      read        = ["${var.archive.arn}/offers/*", "${var.lake.arn}/archive/orders/*"]
    }
    gold = {
      description = "The Iceberg tables in the warehouse, as their metadata says."
      s3          = []
      iceberg     = ["s3://${var.lake.bucket}/warehouse/"]
      read        = ["${var.lake.arn}/warehouse/*"]
    }
  }
}

resource "aws_glue_crawler" "this" {
  for_each               = local.crawlers
  name                   = "${var.prefix}-${each.key}"
  description            = each.value.description
  database_name          = aws_glue_catalog_database.this.name
  role                   = aws_iam_role.crawler[each.key].arn
  schedule               = var.crawler_schedule
  table_prefix           = "crawled_${each.key}_"
  security_configuration = var.security_configuration

  dynamic "s3_target" {
    for_each = each.value.s3
    content {
      path = s3_target.value
    }
  }

  dynamic "iceberg_target" {
    for_each = length(each.value.iceberg) == 0 ? [] : [each.value.iceberg]
    content {
      paths                   = iceberg_target.value
      maximum_traversal_depth = 4
    }
  }

  schema_change_policy {
    delete_behavior = "LOG"
    update_behavior = "UPDATE_IN_DATABASE"
  }

  # New folders only would miss a field that appears in an old one; files are few and on demand.
  recrawl_policy {
    recrawl_behavior = "CRAWL_EVERYTHING"
  }
}
