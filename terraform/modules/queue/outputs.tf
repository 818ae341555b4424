output "name" {
  description = "Name of the queue, `.fifo` included."
  value       = aws_sqs_queue.this.name
}

output "arn" {
  description = "ARN of the queue."
  value       = aws_sqs_queue.this.arn
}

output "url" {
  description = "URL of the queue."
  value       = aws_sqs_queue.this.url
}

output "visibility_timeout_s" {
  description = "How long a message that was received stays hidden."
  value       = local.visibility_timeout_s
}

output "dead_letter_name" {
  description = "Name of the dead-letter queue; null without one."
  value       = one(aws_sqs_queue.dead[*].name)
}

output "dead_letter_arn" {
  description = "ARN of the dead-letter queue; null without one."
  value       = one(aws_sqs_queue.dead[*].arn)
}

output "dead_letter_url" {
  description = "URL of the dead-letter queue; null without one."
  value       = one(aws_sqs_queue.dead[*].url)
}
