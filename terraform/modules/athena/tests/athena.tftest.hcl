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
}

override_resource {
  target = aws_iam_policy.reader
  values = { arn = "arn:aws:iam::123456789012:policy/shop-reader" }
}

variables {
  prefix        = "shop"
  results       = { bucket = "shop-results", arn = "arn:aws:s3:::shop-results" }
  database      = "ecommerce_analytics_db"
  readable_arns = { warehouse = "arn:aws:s3:::shop-lake/warehouse/*" }
}

run "settings_are_enforced_and_queries_are_there" {
  command = plan

  assert {
    condition     = aws_athena_workgroup.this.configuration[0].enforce_workgroup_configuration
    error_message = "A client could write its results elsewhere, unencrypted."
  }
  assert {
    condition     = aws_athena_workgroup.this.configuration[0].bytes_scanned_cutoff_per_query == 10737418240
    error_message = "A careless query could scan everything."
  }
  assert {
    condition     = aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_S3"
    error_message = "Results are not encrypted."
  }
  assert {
    condition     = aws_athena_workgroup.this.configuration[0].result_configuration[0].expected_bucket_owner == "123456789012"
    error_message = "Results could land in somebody else's bucket of that name."
  }
  assert {
    condition     = trimspace(aws_athena_named_query.this["revenue_by_category"].query) == "SELECT category, SUM(amount) AS total_revenue FROM \"ecommerce_analytics_db\".\"gold_daily_sales\" GROUP BY category ORDER BY total_revenue DESC"
    error_message = "The query is not the known one."
  }
  assert {
    condition     = aws_athena_named_query.this["revenue_by_category"].description == "Revenue of each category over all days."
    error_message = "A query's first line is its description."
  }
}

run "a_key_a_database_and_queries_of_the_users_are_used" {
  command = plan
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    database    = "other_db"
    queries     = { mine = { description = "Mine.", sql = "SELECT 1 FROM \"other_db\".\"mine\"" } }
  }

  assert {
    condition     = aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_KMS"
    error_message = "The key is not used."
  }
  assert {
    condition     = alltrue([for query in aws_athena_named_query.this : strcontains(query.query, "\"other_db\".\"")])
    error_message = "A query reads another database."
  }
  assert {
    condition     = aws_athena_named_query.this["mine"].description == "Mine." && length(aws_athena_named_query.this) > 1
    error_message = "The query is not there, or replaced the others."
  }
}

run "readers_may_ask_and_are_let_go_before_the_policy_is" {
  variables {
    reader_roles  = ["aws-quicksight-service-role-v0"]
    reader_groups = ["analysts"]
  }

  assert {
    condition = (
      aws_iam_role_policy_attachment.reader["aws-quicksight-service-role-v0"].policy_arn == aws_iam_policy.reader.arn
      && aws_iam_group_policy_attachment.reader["analysts"].group == "analysts"
    )
    error_message = "A reader has no rights."
  }
  assert {
    condition = alltrue([
      for statement in jsondecode(aws_iam_policy.reader.policy).Statement :
      statement.Resource != ["*"] || alltrue([for action in statement.Action : startswith(action, "athena:List")])
    ])
    error_message = "A reader may do something to everything."
  }
  # What QuickSight's own managed policy has, and needs to connect.
  assert {
    condition = length(setsubtract(
      ["athena:ListDataCatalogs", "athena:GetDataCatalog", "athena:ListDatabases", "athena:GetTableMetadata", "athena:ListWorkGroups", "glue:GetDatabases", "s3:ListMultipartUploadParts"],
      flatten([for statement in jsondecode(aws_iam_policy.reader.policy).Statement : statement.Action]),
    )) == 0
    error_message = "QuickSight can't connect."
  }
}

run "what_cannot_be_is_refused" {
  command = plan
  variables {
    reader_roles      = ["service-role/aws-quicksight-service-role-v0"]
    reader_groups     = ["all analysts"]
    bytes_scanned_max = 1000
    readable_arns     = { everything = "arn:aws:s3:::shop-lake" }
  }
  expect_failures = [var.reader_roles, var.reader_groups, var.bytes_scanned_max, var.readable_arns]
}
