output "web_acl_arn" {
  description = "ARN of the web ACL."
  value       = aws_wafv2_web_acl.this.arn
}

output "log_group" {
  description = "Name of the log group of blocked requests."
  value       = aws_cloudwatch_log_group.blocked.name
}
