mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_resource "aws_quicksight_data_source" {
    defaults = { arn = "arn:aws:quicksight:eu-central-1:123456789012:datasource/shop-athena" }
  }
  mock_resource "aws_quicksight_data_set" {
    defaults = { arn = "arn:aws:quicksight:eu-central-1:123456789012:dataset/shop-gold" }
  }
}

variables {
  prefix         = "shop"
  workgroup      = "shop"
  database       = "ecommerce_analytics_db"
  principal_arns = ["arn:aws:quicksight:eu-central-1:123456789012:user/default/ana"]
}

# One run: planning an analysis, whose schema is huge, takes longer than everything else.
run "each_sheet_charts_columns_of_its_table_as_they_are_now" {
  command = plan

  assert {
    condition     = toset(aws_quicksight_analysis.shop.definition[0].sheets[*].sheet_id) == toset(["funnel", "products", "engagement", "sales"])
    error_message = "A sheet is missing."
  }
  assert {
    condition     = alltrue([for sheet in aws_quicksight_analysis.shop.definition[0].sheets : length(sheet.visuals) == 3])
    error_message = "A sheet lacks a chart."
  }
  assert {
    condition = alltrue(flatten([
      for sheet in local.sheets : [
        for chart in sheet.charts : [
          for column in concat([chart.by], chart.values, try([chart.colors], [])) :
          contains([for known in local.tables[sheet.table] : known.name], column)
        ]
      ]
    ]))
    error_message = "A chart shows a column that its table lacks."
  }
  assert {
    condition     = alltrue([for set in aws_quicksight_data_set.gold : set.import_mode == "DIRECT_QUERY"])
    error_message = "A page would show what was, and a copy cost."
  }
}

run "an_analysis_that_nobody_can_see_is_refused" {
  command = plan
  variables {
    principal_arns = []
  }
  expect_failures = [var.principal_arns]
}
