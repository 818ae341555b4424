mock_provider "aws" {
  mock_resource "aws_api_gateway_rest_api" {
    defaults = { id = "a1", root_resource_id = "r0", execution_arn = "arn:aws:execute-api:eu-central-1:123456789012:a1" }
  }
  mock_resource "aws_api_gateway_stage" {
    defaults = { arn = "arn:aws:apigateway:eu-central-1::/restapis/a1/stages/live", invoke_url = "https://a1.example.com/live" }
  }
}

variables {
  name                = "shop-collector"
  description         = "Where shops send their events."
  function_name       = "shop-Collector"
  function_invoke_arn = "arn:aws:apigateway:eu-central-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-central-1:123456789012:function:shop-Collector/invocations"
}

run "as_it_is" {
  # Every path reaches the function byte by byte.
  assert {
    condition     = toset(keys(aws_api_gateway_integration.this)) == toset(["root", "any"]) && alltrue([for integration in aws_api_gateway_integration.this : integration.type == "AWS_PROXY"])
    error_message = "A path doesn't."
  }

  assert {
    condition     = contains(aws_api_gateway_rest_api.this.binary_media_types, "*/*")
    error_message = "A gzip body would be broken on its way."
  }

  # A flood is answered 429.
  assert {
    condition     = aws_api_gateway_method_settings.this.settings[0].throttling_rate_limit == 500
    error_message = "There is no limit."
  }

  # A firewall can be put before it.
  assert {
    condition     = output.stage_arn == "arn:aws:apigateway:eu-central-1::/restapis/a1/stages/live" && one(aws_api_gateway_rest_api.this.endpoint_configuration).types == tolist(["REGIONAL"])
    error_message = "A regional firewall attaches to a regional stage."
  }
}

run "traces_are_not_made_where_nobody_wants_them" {
  command = plan

  variables {
    tracing = false
  }

  assert {
    condition     = !aws_api_gateway_stage.this.xray_tracing_enabled
    error_message = "Traces are paid for."
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
  }

  expect_failures = [
    var.name, var.description, var.function_name, var.function_invoke_arn, var.requests_per_s_max,
    var.requests_burst_max,
  ]
}
