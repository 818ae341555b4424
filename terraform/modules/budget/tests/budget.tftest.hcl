mock_provider "aws" {}

variables {
  prefix    = "shop"
  limit_usd = 20
  emails    = ["owner@example.com"]
}

run "it_writes_before_and_when_the_money_is_gone" {
  command = plan

  assert {
    condition     = aws_budgets_budget.monthly.time_unit == "MONTHLY" && aws_budgets_budget.monthly.limit_amount == "20"
    error_message = "The limit is not that of a month."
  }
  assert {
    condition     = toset([for told in aws_budgets_budget.monthly.notification : told.threshold if told.notification_type == "ACTUAL"]) == toset([50, 80, 100])
    error_message = "Nobody is told in time."
  }
  assert {
    condition     = one([for told in aws_budgets_budget.monthly.notification : told.threshold if told.notification_type == "FORECASTED"]) == 100
    error_message = "A month that will pass the limit is not told."
  }
  assert {
    condition     = alltrue([for told in aws_budgets_budget.monthly.notification : contains(told.subscriber_email_addresses, "owner@example.com")])
    error_message = "A notification goes to nobody."
  }
  assert {
    condition     = length(aws_budgets_budget.monthly.cost_filter) == 0
    error_message = "Without a tag everything counts."
  }
}

run "only_what_has_the_tag_counts" {
  command = plan
  variables {
    cost_tag = { key = "project", value = "shop" }
  }

  assert {
    condition     = [for filter in aws_budgets_budget.monthly.cost_filter : filter.values[0]] == ["user:project$shop"]
    error_message = "The tag is not written as AWS Budgets wants it."
  }
}

run "what_tells_nobody_or_allows_nothing_is_refused" {
  command = plan
  variables {
    emails    = []
    limit_usd = 0
  }
  expect_failures = [var.emails, var.limit_usd]
}
