mock_provider "aws" {
  mock_resource "aws_s3_bucket" {
    defaults = { id = "shop-lake-123456789012", arn = "arn:aws:s3:::shop-lake-123456789012" }
  }
}

variables {
  name = "shop-lake-123456789012"
}

run "as_it_is" {
  # It is private encrypted and keeps versions.
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.this.block_public_acls,
      aws_s3_bucket_public_access_block.this.block_public_policy,
      aws_s3_bucket_public_access_block.this.ignore_public_acls,
      aws_s3_bucket_public_access_block.this.restrict_public_buckets,
    ])
    error_message = "Somebody could make it public."
  }

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "What is overwritten is gone."
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "Objects lie there in clear."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "Objects can belong to somebody else."
  }

  # Nobody gets in but over tls.
  assert {
    condition     = jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "Plain HTTP is let in."
  }

  # Uploads that were given up and old versions go.
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation <= 7
    error_message = "Parts of uploads are paid for, for ever."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[0].noncurrent_version_expiration[0].noncurrent_days == 7
    error_message = "Old versions are paid for, for ever."
  }

  # It is not removed with what is in it unless asked.
  assert {
    condition     = aws_s3_bucket.this.force_destroy == false && length(aws_s3_bucket_notification.this) == 0
    error_message = "Data can be lost by one command."
  }
}

run "with_all_it_can_have" {
  variables {
    lifecycle_rules = {
      bronze  = { prefix = "bronze/", infrequent_after_days = 30, glacier_after_days = 120 }
      results = { prefix = "results/", expire_after_days = 7 }
    }

    eventbridge = true
  }

  # Old objects move to storage that athena can read.
  assert {
    condition = { for transition in aws_s3_bucket_lifecycle_configuration.this.rule[1].transition : transition.storage_class => transition.days } == {
      STANDARD_IA = 30
      GLACIER_IR  = 120
    }
    error_message = "Old bronze stays where it is, or goes where Athena can't read it."
  }

  assert {
    condition     = length(aws_s3_bucket_lifecycle_configuration.this.rule[1].expiration) == 0
    error_message = "Bronze goes away."
  }

  # Results expire.
  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[2].expiration[0].days == 7
    error_message = "Results are kept for ever."
  }

  # It tells eventbridge.
  assert {
    condition     = aws_s3_bucket_notification.this[0].eventbridge
    error_message = "Nobody hears of new objects."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # A move too soon is refused.
    lifecycle_rules = { bronze = { infrequent_after_days = 30, glacier_after_days = 40 } }
  }

  expect_failures = [var.lifecycle_rules]
}
