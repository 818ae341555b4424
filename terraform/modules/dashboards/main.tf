# QuickSight over gold: funnel, product performance, engagement, sales.
#
# It needs an account that has subscribed to QuickSight, which costs per user and month, so it is off
# unless asked for. QuickSight reads as its own service role, which has to be among the module `athena`'s
# `reader_roles`. No emulator runs QuickSight: this module is checked by its plan only.

data "aws_caller_identity" "current" {}

locals {
  account = data.aws_caller_identity.current.account_id
  # Columns as the models declare them, in QuickSight's types; a test compares.
  tables = jsondecode(file("${path.module}/tables.json"))
}

resource "aws_quicksight_data_source" "athena" {
  aws_account_id = local.account
  data_source_id = "${var.prefix}-athena"
  name           = "${var.prefix} lake"
  type           = "ATHENA"

  parameters {
    athena {
      work_group = var.workgroup
    }
  }

  ssl_properties {
    disable_ssl = false
  }

  dynamic "permission" {
    for_each = var.principal_arns
    content {
      principal = permission.value
      actions = [
        "quicksight:DescribeDataSource", "quicksight:DescribeDataSourcePermissions", "quicksight:PassDataSource",
      ]
    }
  }
}

# Read when looked at, so that a page is as fresh as the tables, and no copy has to be paid for.
resource "aws_quicksight_data_set" "gold" {
  for_each       = local.tables
  aws_account_id = local.account
  data_set_id    = "${var.prefix}-${replace(each.key, "_", "-")}"
  name           = each.key
  import_mode    = "DIRECT_QUERY"

  physical_table_map {
    physical_table_map_id = replace(each.key, "_", "-")
    relational_table {
      data_source_arn = aws_quicksight_data_source.athena.arn
      catalog         = "AwsDataCatalog"
      schema          = var.database
      name            = each.key

      dynamic "input_columns" {
        for_each = each.value
        content {
          name = input_columns.value.name
          type = input_columns.value.type
        }
      }
    }
  }

  dynamic "permissions" {
    for_each = var.principal_arns
    content {
      principal = permissions.value
      actions = [
        "quicksight:DescribeDataSet", "quicksight:DescribeDataSetPermissions", "quicksight:DescribeIngestion",
        "quicksight:ListIngestions", "quicksight:PassDataSet",
      ]
    }
  }
}
