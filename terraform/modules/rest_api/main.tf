# A public HTTPS address for a function that a web application firewall can be put before: API Gateway's
# REST API. A request costs three times as much as with the HTTP API, which no firewall attaches to.

locals {
  # Bodies are often gzip; they must reach the function byte by byte.
  binary_media_types = ["*/*"]
}

resource "aws_api_gateway_rest_api" "this" {
  name        = var.name
  description = var.description

  binary_media_types = local.binary_media_types

  endpoint_configuration {
    types = ["REGIONAL"]
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_resource" "any" {
  rest_api_id = aws_api_gateway_rest_api.this.id
  parent_id   = aws_api_gateway_rest_api.this.root_resource_id
  path_part   = "{proxy+}"
}

locals {
  resources = {
    root = aws_api_gateway_rest_api.this.root_resource_id
    any  = aws_api_gateway_resource.any.id
  }
}

resource "aws_api_gateway_method" "this" {
  #checkov:skip=CKV_AWS_59:the function checks write keys; SDKs and browsers have no other credentials
  #checkov:skip=CKV2_AWS_53:bodies come in several dialects and packed; the function judges each event and keeps what it rejects

  for_each = local.resources

  rest_api_id   = aws_api_gateway_rest_api.this.id
  resource_id   = each.value
  http_method   = "ANY"
  authorization = "NONE" # the function checks write keys; browsers have no other credentials
}

resource "aws_api_gateway_integration" "this" {
  for_each = local.resources

  rest_api_id             = aws_api_gateway_rest_api.this.id
  resource_id             = each.value
  http_method             = aws_api_gateway_method.this[each.key].http_method
  type                    = "AWS_PROXY"
  integration_http_method = "POST"
  uri                     = var.function_invoke_arn
}

resource "aws_api_gateway_deployment" "this" {
  rest_api_id = aws_api_gateway_rest_api.this.id

  triggers = {
    content = sha1(jsonencode([
      local.binary_media_types,
      [for method in aws_api_gateway_method.this : [method.id, method.authorization]],
      [for integration in aws_api_gateway_integration.this : [integration.id, integration.uri]],
    ]))
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_api_gateway_stage" "this" {
  #checkov:skip=CKV_AWS_76:needs one role for the whole account and region, which is not ours to set; the function and the firewall log
  #checkov:skip=CKV2_AWS_4:needs one role for the whole account and region, which is not ours to set; the function and the firewall log
  #checkov:skip=CKV_AWS_120:every request brings events of its own; a cached answer would lose them
  #checkov:skip=CKV2_AWS_51:a client certificate is for servers behind an API; behind this one is a function, called by IAM
  #checkov:skip=CKV2_AWS_29:the root puts the module waf before it, by an ARN that is not followed here

  rest_api_id          = aws_api_gateway_rest_api.this.id
  deployment_id        = aws_api_gateway_deployment.this.id
  stage_name           = "live"
  xray_tracing_enabled = var.tracing
}

# No execution or access log: both need one role for the whole account and region, which isn't ours to
# set. The function and the firewall log what came.
resource "aws_api_gateway_method_settings" "this" {
  #checkov:skip=CKV_AWS_225:every request brings events of its own; a cached answer would lose them

  rest_api_id = aws_api_gateway_rest_api.this.id
  stage_name  = aws_api_gateway_stage.this.stage_name
  method_path = "*/*"

  settings {
    metrics_enabled        = true
    throttling_rate_limit  = var.requests_per_s_max
    throttling_burst_limit = var.requests_burst_max
  }
}

resource "aws_lambda_permission" "this" {
  statement_id  = "RestApi"
  action        = "lambda:InvokeFunction"
  function_name = var.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_api_gateway_rest_api.this.execution_arn}/*"
}
