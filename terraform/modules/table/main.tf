# A table on demand: it costs by the request, and nothing while nobody asks.

locals {
  keys = concat(
    [var.hash_key],
    var.range_key == null ? [] : [var.range_key],
    flatten([for index in values(var.indexes) : concat([index.hash_key], index.range_key == null ? [] : [index.range_key])]),
  )
}

resource "aws_dynamodb_table" "this" {
  name                        = var.name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = var.hash_key.name
  range_key                   = try(var.range_key.name, null)
  deletion_protection_enabled = var.deletion_protection
  stream_enabled              = var.stream_view != null
  stream_view_type            = var.stream_view

  dynamic "attribute" {
    for_each = { for key in local.keys : key.name => key.type... }

    content {
      name = attribute.key
      type = attribute.value[0]
    }
  }

  dynamic "global_secondary_index" {
    for_each = var.indexes

    content {
      name            = global_secondary_index.key
      hash_key        = global_secondary_index.value.hash_key.name
      range_key       = try(global_secondary_index.value.range_key.name, null)
      projection_type = "ALL"
    }
  }

  dynamic "ttl" {
    for_each = var.ttl_attribute == null ? [] : [var.ttl_attribute]

    content {
      enabled        = true
      attribute_name = ttl.value
    }
  }

  point_in_time_recovery {
    enabled = var.point_in_time_recovery
  }

  # Without a key of ours DynamoDB encrypts by one of its own, at no cost.
  dynamic "server_side_encryption" {
    for_each = var.kms_key_arn == null ? [] : [var.kms_key_arn]

    content {
      enabled     = true
      kms_key_arn = server_side_encryption.value
    }
  }
}
