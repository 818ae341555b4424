output "url" {
  description = "Address of the API, without `/` at its end."
  value       = aws_apigatewayv2_api.this.api_endpoint

  # Not before somebody answers there.
  depends_on = [aws_apigatewayv2_stage.this, aws_apigatewayv2_route.this, aws_lambda_permission.this]
}

output "log_group_name" {
  description = "Name of the access log's group."
  value       = aws_cloudwatch_log_group.this.name
}
