# The Glue database and the tables of what lands: bronze and the archive of offers.
#
# Partitions are projected: Athena works them out from the day asked for, so no crawler and no
# `MSCK REPAIR` stands between an event's landing and its being read, and nothing has to be paid for.
# Silver and gold are Iceberg tables; who builds them registers them in this database.

locals {
  given = jsondecode(var.tables == null ? file("${path.module}/catalog.json") : jsonencode(var.tables))
  projected = {
    dt   = { type = "date", format = "yyyy-MM-dd", interval = "1", "interval.unit" = "DAYS" }
    hour = { type = "integer", range = "0,23", digits = "2" }
  }
  stores = { lake = var.lake, archive = var.archive }
  tables = {
    for name, table in local.given : name => {
      description = table.description
      partitions  = table.partitions
      columns     = table.columns
      location    = "s3://${local.stores[table.in].bucket}/${trimsuffix(table.prefix, "/")}/"
      # What the archive has is laid down by the day that it is about, which may be long ago.
      first_day = coalesce(try(table.first_day, null), table.in == "archive" ? "2000-01-01" : var.first_day)
    }
  }
}

resource "aws_glue_catalog_database" "this" {
  name        = var.database
  description = "Tables of the shop's events: bronze, silver and gold."
}

resource "aws_glue_catalog_table" "landed" {
  for_each      = local.tables
  name          = each.key
  database_name = aws_glue_catalog_database.this.name
  description   = each.value.description
  table_type    = "EXTERNAL_TABLE"

  parameters = merge(
    {
      EXTERNAL                    = "TRUE"
      classification              = "json"
      "projection.enabled"        = "true"
      "storage.location.template" = "${each.value.location}${join("", [for name in each.value.partitions : "${name}=$${${name}}/"])}"
    },
    contains(each.value.partitions, "dt") ? { "projection.dt.range" = "${each.value.first_day},NOW+1DAYS" } : {},
    [
      for name in each.value.partitions : {
        for property, value in local.projected[name] : "projection.${name}.${property}" => value
      }
    ]...
  )

  dynamic "partition_keys" {
    for_each = each.value.partitions
    content {
      name    = partition_keys.value
      type    = partition_keys.value == "hour" ? "int" : "string"
      comment = partition_keys.value == "hour" ? "Hour of arrival in UTC." : "Day of arrival in UTC."
    }
  }

  storage_descriptor {
    location      = each.value.location
    input_format  = "org.apache.hadoop.mapred.TextInputFormat"
    output_format = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"

    ser_de_info {
      name                  = "json"
      serialization_library = "org.openx.data.jsonserde.JsonSerDe"
      # A line that can't be read is an error: bronze holds only what we wrote.
      parameters = { "ignore.malformed.json" = "false" }
    }

    dynamic "columns" {
      for_each = each.value.columns
      content {
        name    = columns.value.name
        type    = columns.value.type
        comment = columns.value.comment
      }
    }
  }
}
