output "kind" {
  description = "`kinesis` or `sqs`."
  value       = var.kind
}

output "name" {
  description = "Name of the stream or queue."
  value       = one(concat(aws_kinesis_stream.this[*].name, module.queue[*].name))
}

output "arn" {
  description = "ARN of the stream or queue."
  value       = one(concat(aws_kinesis_stream.this[*].arn, module.queue[*].arn))
}

output "url" {
  description = "Where to send clicks, as `shopstream load --to` takes it."
  value       = "${var.kind}://${one(concat(aws_kinesis_stream.this[*].name, module.queue[*].name))}"
}

output "queue_url" {
  description = "URL of the queue; null with Kinesis."
  value       = one(module.queue[*].url)
}

output "dead_letter_name" {
  description = "Name of the queue's dead-letter queue; null with Kinesis."
  value       = one(module.queue[*].dead_letter_name)
}

output "dead_letter_arn" {
  description = "ARN of the queue's dead-letter queue; null with Kinesis."
  value       = one(module.queue[*].dead_letter_arn)
}
