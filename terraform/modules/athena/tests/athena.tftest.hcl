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

variables {
  prefix        = "shop"
  results       = { bucket = "shop-results", arn = "arn:aws:s3:::shop-results" }
  database      = "ecommerce_analytics_db"
  readable_arns = { warehouse = "arn:aws:s3:::shop-lake/warehouse/*" }
}

run "no_client_can_change_the_settings" {
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
}

run "a_key_of_ours_encrypts_the_results" {
  command = plan
  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555555"
  }

  assert {
    condition     = aws_athena_workgroup.this.configuration[0].result_configuration[0].encryption_configuration[0].encryption_option == "SSE_KMS"
    error_message = "The key is not used."
  }
}

run "revenue_by_category_is_asked_for_as_everybody_writes_it" {
  command = plan

  assert {
    condition     = trimspace(aws_athena_named_query.this["revenue_by_category"].query) == "SELECT category, SUM(amount) AS total_revenue FROM \"ecommerce_analytics_db\".\"gold_daily_sales\" GROUP BY category ORDER BY total_revenue DESC"
    error_message = "The query is not the known one."
  }
  assert {
    condition     = aws_athena_named_query.this["revenue_by_category"].description == "Revenue of each category over all days."
    error_message = "A query's first line is its description."
  }
}

run "queries_name_the_database_that_is_given" {
  command = plan
  variables {
    database = "other_db"
  }

  assert {
    condition     = alltrue([for query in aws_athena_named_query.this : strcontains(query.query, "\"other_db\".\"")])
    error_message = "A query reads another database."
  }
}

run "a_user_adds_queries" {
  command = plan
  variables {
    queries = { mine = { description = "Mine.", sql = "SELECT 1" } }
  }

  assert {
    condition     = aws_athena_named_query.this["mine"].query == "SELECT 1" && length(aws_athena_named_query.this) > 1
    error_message = "The query is not there, or replaced the others."
  }
}

run "a_limit_below_athenas_least_is_refused" {
  command = plan
  variables {
    bytes_scanned_max = 1000
  }
  expect_failures = [var.bytes_scanned_max]
}

run "a_whole_bucket_is_not_what_a_reader_reads" {
  command = plan
  variables {
    readable_arns = { everything = "arn:aws:s3:::shop-lake" }
  }
  expect_failures = [var.readable_arns]
}
