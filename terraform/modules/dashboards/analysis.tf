# A sheet for each table; a chart is a line over days or bars of a category.

locals {
  sheets = {
    funnel = {
      title = "Funnel"
      table = "gold_funnel"
      charts = {
        # Steps are never added up: a session is in each that it took.
        steps   = { title = "Sessions that took each step", by = "step_name", over_days = false, values = ["sessions", "strict_sessions", "sessions_without_cart"] }
        days    = { title = "Sessions that took each step, by day", by = "day", over_days = true, values = ["sessions"], colors = "step_name" }
        devices = { title = "Sessions that took each step, by device", by = "device_type", over_days = false, values = ["sessions"], colors = "step_name" }
      }
    }
    products = {
      title = "Product performance"
      table = "gold_product_performance"
      charts = {
        sold   = { title = "Units by product", by = "product_id", over_days = false, values = ["units"] }
        looked = { title = "Views, carts and purchases by product", by = "product_id", over_days = false, values = ["views", "carts", "purchases"] }
        days   = { title = "Views, carts and purchases by day", by = "day", over_days = true, values = ["views", "carts", "purchases"] }
      }
    }
    engagement = {
      title = "Engagement"
      table = "gold_user_engagement"
      charts = {
        days  = { title = "Sessions and bounces by day", by = "day", over_days = true, values = ["sessions", "bounces"] }
        pages = { title = "Pages by day", by = "day", over_days = true, values = ["pages", "events"] }
        types = { title = "Sessions of new and returning users", by = "user_type", over_days = false, values = ["sessions"] }
      }
    }
    sales = {
      title = "Sales"
      table = "gold_daily_sales"
      charts = {
        # Amounts of several currencies are never added up: each has a bar of its own.
        currencies = { title = "Sold and refunded, by currency", by = "currency", over_days = false, values = ["amount", "refunded"] }
        categories = { title = "Units by category", by = "category", over_days = false, values = ["units", "refunded_units"] }
        days       = { title = "Units by day", by = "day", over_days = true, values = ["units", "refunded_units"] }
      }
    }
  }
}

resource "aws_quicksight_analysis" "shop" {
  aws_account_id = local.account
  analysis_id    = "${var.prefix}-shop"
  name           = "${var.prefix} shop"

  definition {
    dynamic "data_set_identifiers_declarations" {
      for_each = aws_quicksight_data_set.gold
      content {
        identifier   = data_set_identifiers_declarations.key
        data_set_arn = data_set_identifiers_declarations.value.arn
      }
    }

    dynamic "sheets" {
      for_each = local.sheets
      iterator = sheet
      content {
        sheet_id = sheet.key
        title    = sheet.value.title

        dynamic "visuals" {
          for_each = sheet.value.charts
          iterator = chart
          content {
            dynamic "line_chart_visual" {
              for_each = chart.value.over_days ? [chart.value] : []
              content {
                visual_id = "${sheet.key}-${chart.key}"
                title {
                  format_text {
                    plain_text = chart.value.title
                  }
                }
                chart_configuration {
                  type = "LINE"
                  field_wells {
                    line_chart_aggregated_field_wells {
                      category {
                        date_dimension_field {
                          field_id         = "${sheet.key}-${chart.key}-day"
                          date_granularity = "DAY"
                          column {
                            data_set_identifier = sheet.value.table
                            column_name         = chart.value.by
                          }
                        }
                      }
                      dynamic "colors" {
                        for_each = try([chart.value.colors], [])
                        content {
                          categorical_dimension_field {
                            field_id = "${sheet.key}-${chart.key}-colors"
                            column {
                              data_set_identifier = sheet.value.table
                              column_name         = colors.value
                            }
                          }
                        }
                      }
                      dynamic "values" {
                        for_each = chart.value.values
                        content {
                          numerical_measure_field {
                            field_id = "${sheet.key}-${chart.key}-${values.value}"
                            column {
                              data_set_identifier = sheet.value.table
                              column_name         = values.value
                            }
                            aggregation_function {
                              simple_numerical_aggregation = "SUM"
                            }
                          }
                        }
                      }
                    }
                  }
                }
              }
            }

            dynamic "bar_chart_visual" {
              for_each = chart.value.over_days ? [] : [chart.value]
              content {
                visual_id = "${sheet.key}-${chart.key}"
                title {
                  format_text {
                    plain_text = chart.value.title
                  }
                }
                chart_configuration {
                  orientation = "HORIZONTAL"
                  field_wells {
                    bar_chart_aggregated_field_wells {
                      category {
                        categorical_dimension_field {
                          field_id = "${sheet.key}-${chart.key}-by"
                          column {
                            data_set_identifier = sheet.value.table
                            column_name         = chart.value.by
                          }
                        }
                      }
                      dynamic "colors" {
                        for_each = try([chart.value.colors], [])
                        content {
                          categorical_dimension_field {
                            field_id = "${sheet.key}-${chart.key}-colors"
                            column {
                              data_set_identifier = sheet.value.table
                              column_name         = colors.value
                            }
                          }
                        }
                      }
                      dynamic "values" {
                        for_each = chart.value.values
                        content {
                          numerical_measure_field {
                            field_id = "${sheet.key}-${chart.key}-${values.value}"
                            column {
                              data_set_identifier = sheet.value.table
                              column_name         = values.value
                            }
                            aggregation_function {
                              simple_numerical_aggregation = "SUM"
                            }
                          }
                        }
                      }
                    }
                  }
                }
              }
            }
          }
        }
      }
    }
  }

  dynamic "permissions" {
    for_each = var.principal_arns
    content {
      principal = permissions.value
      actions = [
        "quicksight:DeleteAnalysis", "quicksight:DescribeAnalysis", "quicksight:DescribeAnalysisPermissions",
        "quicksight:QueryAnalysis", "quicksight:RestoreAnalysis", "quicksight:UpdateAnalysis",
        "quicksight:UpdateAnalysisPermissions",
      ]
    }
  }
}
