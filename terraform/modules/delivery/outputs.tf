output "name" {
  description = "Name of the delivery stream."
  value       = aws_kinesis_firehose_delivery_stream.this.name
}

output "arn" {
  description = "ARN of the delivery stream."
  value       = aws_kinesis_firehose_delivery_stream.this.arn
}

output "log_group_name" {
  description = "Name of the log group with Firehose's errors."
  value       = aws_cloudwatch_log_group.this.name
}
