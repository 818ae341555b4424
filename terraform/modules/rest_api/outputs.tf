output "url" {
  description = "Address of the API, without `/` at its end."
  value       = aws_api_gateway_stage.this.invoke_url

  # Not before somebody answers there.
  depends_on = [aws_lambda_permission.this]
}

output "stage_arn" {
  description = "ARN of the stage, for a firewall."
  value       = aws_api_gateway_stage.this.arn
}
