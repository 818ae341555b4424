mock_provider "aws" {
  mock_resource "aws_apigatewayv2_api" {
    defaults = { id = "a1", execution_arn = "arn:aws:execute-api:eu-central-1:123456789012:a1", api_endpoint = "https://a1.example.com" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/vendedlogs/apigateway/shop-collector" }
  }
}

variables {
  name                = "shop-collector"
  description         = "Where shops send their events."
  function_name       = "shop-Collector"
  function_invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:shop-Collector/invocations"
}

run "as_it_is" {
  # Every path reaches the function.
  assert {
    condition     = aws_apigatewayv2_route.this.route_key == "$default" && aws_apigatewayv2_stage.this.name == "$default"
    error_message = "Paths differ from those of the embedded engine."
  }

  assert {
    condition     = aws_apigatewayv2_integration.this.payload_format_version == "2.0"
    error_message = "The function gets another kind of event."
  }

  assert {
    condition     = length(aws_apigatewayv2_api.this.cors_configuration) == 0
    error_message = "API Gateway would answer OPTIONS in the function's place."
  }

  # A flood is answered 429.
  assert {
    condition     = aws_apigatewayv2_stage.this.default_route_settings[0].throttling_rate_limit == 500 && aws_apigatewayv2_stage.this.default_route_settings[0].throttling_burst_limit == 1000
    error_message = "There is no limit."
  }

  # Only this api may call the function.
  assert {
    condition     = aws_lambda_permission.this.source_arn == "arn:aws:execute-api:eu-central-1:123456789012:a1/*/$default"
    error_message = "Any API may."
  }

  # Write keys are not logged.
  assert {
    condition     = !can(regex("(?i)header|query|authorization", aws_apigatewayv2_stage.this.access_log_settings[0].format))
    error_message = "The access log holds what may have a key in it."
  }
}

run "what_is_wrong_is_refused" {
  command = plan

  variables {
    name                = "shop collector"
    description         = ""
    function_name       = "shop.Collector"
    function_invoke_arn = "arn:aws:lambda:eu-central-1:123456789012:function:shop-Collector"
    requests_per_s_max  = 0
    requests_burst_max  = 0
    log_retention_days  = 2
    kms_key_arn         = "alias/shop"
  }

  expect_failures = [
    var.name, var.description, var.function_name, var.function_invoke_arn, var.requests_per_s_max,
    var.requests_burst_max, var.log_retention_days, var.kms_key_arn,
  ]
}
