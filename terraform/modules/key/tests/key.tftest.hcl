mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/k", key_id = "k" }
  }
}

variables {
  name = "shop"
}

run "as_it_is" {
  # The key is renewed and can be had back.
  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "A key must rotate and wait 30 days before it ends."
  }

  # Services may use it only for this account.
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_kms_key.this.policy).Statement :
      can(statement.Condition) if can(statement.Principal.Service)
    ])
    error_message = "A service may use the key for somebody else's account."
  }

  # Alarms and dead letters get through.
  assert {
    condition = alltrue([
      for service in ["cloudwatch", "events", "sns"] :
      contains(flatten([for statement in jsondecode(aws_kms_key.this.policy).Statement : try(statement.Principal.Service, [])]), "${service}.amazonaws.com")
    ])
    error_message = "A service that sends to encrypted topics and queues can't use the key."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    # A name of aws is refused.
    name = "aws/mine"
  }

  expect_failures = [var.name]
}
