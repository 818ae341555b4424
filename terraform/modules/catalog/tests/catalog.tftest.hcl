mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/shop-crawler" }
  }
}

variables {
  prefix  = "shop"
  lake    = { bucket = "shop-lake", arn = "arn:aws:s3:::shop-lake" }
  archive = { bucket = "shop-offers", arn = "arn:aws:s3:::shop-offers" }
  tables = {
    bronze_clicks = {
      description = "Clicks."
      in          = "lake"
      prefix      = "bronze/clicks/"
      partitions  = ["dt", "hour"]
      columns     = [{ name = "position", type = "bigint", comment = "Place." }]
    }
    archive_offers = {
      description = "Offers."
      in          = "archive"
      prefix      = "offers"
      partitions  = ["dt"]
      columns     = [{ name = "offer_id", type = "string", comment = "Which." }]
    }
  }
}

run "partitions_are_projected_and_nothing_is_crawled_until_told" {
  command = plan

  assert {
    condition     = aws_glue_catalog_table.landed["bronze_clicks"].parameters["projection.enabled"] == "true"
    error_message = "Partitions are not projected."
  }
  assert {
    condition     = aws_glue_catalog_table.landed["bronze_clicks"].parameters["storage.location.template"] == "s3://shop-lake/bronze/clicks/dt=$${dt}/hour=$${hour}/"
    error_message = "The template is not where Firehose writes."
  }
  assert {
    condition     = aws_glue_catalog_table.landed["bronze_clicks"].parameters["projection.dt.range"] == "2026-01-01,NOW+1DAYS"
    error_message = "Days that can't have landed are looked at, or ones that can are not."
  }
  assert {
    condition     = aws_glue_catalog_table.landed["bronze_clicks"].parameters["projection.hour.digits"] == "2"
    error_message = "Hours have two digits in a path."
  }
  assert {
    condition     = [for key in aws_glue_catalog_table.landed["bronze_clicks"].partition_keys : key.name] == ["dt", "hour"]
    error_message = "Partitions are not those of the paths."
  }
  assert {
    condition     = aws_glue_catalog_table.landed["archive_offers"].parameters["storage.location.template"] == "s3://shop-offers/offers/dt=$${dt}/"
    error_message = "Offers are looked for elsewhere than they are."
  }
  assert {
    condition     = aws_glue_catalog_table.landed["archive_offers"].parameters["projection.dt.range"] == "2000-01-01,NOW+1DAYS"
    error_message = "Offers that history made are not found."
  }
  assert {
    condition     = !can(aws_glue_catalog_table.landed["archive_offers"].parameters["projection.hour.type"])
    error_message = "There is no hour in these paths."
  }
  assert {
    condition     = aws_glue_catalog_table.landed["bronze_clicks"].storage_descriptor[0].ser_de_info[0].parameters["ignore.malformed.json"] == "false"
    error_message = "Lines would be lost in silence."
  }
  assert {
    condition     = alltrue([for crawler in aws_glue_crawler.this : crawler.schedule == null])
    error_message = "A crawler runs, and costs, by itself."
  }
  assert {
    condition     = toset(keys(aws_glue_crawler.this)) == toset(["bronze", "archive", "gold"])
    error_message = "A crawler is missing."
  }
  assert {
    condition     = alltrue([for crawler in aws_glue_crawler.this : startswith(crawler.table_prefix, "crawled_")])
    error_message = "A crawler could change a table that builds read."
  }
  assert {
    condition = alltrue([
      for key, policy in aws_iam_role_policy.crawler : alltrue([
        for statement in jsondecode(policy.policy).Statement : alltrue([
          for resource in statement.Resource : !strcontains(resource, ":table/") || endswith(resource, "/crawled_${key}_*") || alltrue([
            for action in statement.Action : can(regex("^glue:(Batch)?Get", action))
          ])
        ])
      ])
    ])
    error_message = "A crawler could change a table that builds read."
  }
}

run "crawlers_run_when_told_and_tables_are_the_packages_own" {
  command = plan
  variables {
    crawler_schedule = "cron(0 3 * * ? *)"
    tables           = null
  }

  assert {
    condition     = alltrue([for crawler in aws_glue_crawler.this : crawler.schedule == "cron(0 3 * * ? *)"])
    error_message = "The schedule is not passed on."
  }
  assert {
    condition     = length(setsubtract(["bronze_clicks", "bronze_orders", "bronze_carts", "bronze_stock", "bronze_quarantine", "archive_offers"], output.table_names)) == 0
    error_message = "A topic has no table."
  }
}

run "what_cannot_be_is_refused" {
  command = plan
  variables {
    tables   = { lost = { description = "", in = "elsewhere", prefix = "", partitions = ["country"], columns = [] } }
    database = "Shop-Tables"
  }
  expect_failures = [var.tables, var.database]
}
