mock_provider "aws" {
  mock_resource "aws_dynamodb_table" {
    defaults = {
      arn        = "arn:aws:dynamodb:eu-central-1:123456789012:table/shop-Offers"
      stream_arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/shop-Offers/stream/1"
    }
  }
}

variables {
  name = "shop-Offers"
}

run "as_it_is" {
  # It costs by the request.
  assert {
    condition     = aws_dynamodb_table.this.billing_mode == "PAY_PER_REQUEST"
    error_message = "Capacity is paid for while idle."
  }

  # Items expire and can be had back.
  assert {
    condition     = aws_dynamodb_table.this.ttl[0].enabled && aws_dynamodb_table.this.ttl[0].attribute_name == "expires"
    error_message = "Items stay for ever."
  }

  assert {
    condition     = aws_dynamodb_table.this.point_in_time_recovery[0].enabled
    error_message = "What was deleted is gone."
  }

  # It has no stream unless asked.
  assert {
    condition     = aws_dynamodb_table.this.stream_enabled == false && output.stream_arn == null
    error_message = "Nobody reads the stream."
  }
}

run "with_all_it_can_have" {
  variables {
    stream_view         = "NEW_IMAGE"
    indexes             = { due = { hash_key = { name = "wait" }, range_key = { name = "due", type = "N" } } }
    kms_key_arn         = "arn:aws:kms:eu-central-1:123456789012:key/k"
    deletion_protection = true
  }

  # Its stream carries what was written.
  assert {
    condition     = aws_dynamodb_table.this.stream_enabled && aws_dynamodb_table.this.stream_view_type == "NEW_IMAGE"
    error_message = "Readers don't see the item."
  }

  # An index has its own keys.
  assert {
    condition     = { for attribute in aws_dynamodb_table.this.attribute : attribute.name => attribute.type } == { pk = "S", sk = "S", wait = "S", due = "N" }
    error_message = "Keys must be declared, each once."
  }

  assert {
    condition     = one(aws_dynamodb_table.this.global_secondary_index).projection_type == "ALL"
    error_message = "What is found must not need another read."
  }

  assert {
    condition     = output.index_arns["due"] == "arn:aws:dynamodb:eu-central-1:123456789012:table/shop-Offers/index/due"
    error_message = "The index has another ARN."
  }

  # A key of ours encrypts it.
  assert {
    condition     = aws_dynamodb_table.this.server_side_encryption[0].kms_key_arn == var.kms_key_arn && aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "The key isn't used, or the table isn't protected."
  }
}

run "a_table_may_have_one_key_only" {
  variables {
    hash_key      = { name = "id" }
    range_key     = null
    ttl_attribute = "expiration"
  }

  assert {
    condition     = aws_dynamodb_table.this.range_key == null && length(aws_dynamodb_table.this.attribute) == 1
    error_message = "A sort key that nobody asked for."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # An unknown type of key is refused.
    hash_key = { name = "day", type = "DATE" }
  }

  expect_failures = [var.hash_key]
}
