output "workgroup" {
  description = "Name of the workgroup: `aws athena start-query-execution --work-group`."
  value       = aws_athena_workgroup.this.name
}

output "workgroup_arn" {
  description = "ARN of the workgroup."
  value       = aws_athena_workgroup.this.arn
}

output "named_queries" {
  description = "Ids of the named queries, by name."
  value       = { for name, query in aws_athena_named_query.this : name => query.id }
}

output "reader_policy_arn" {
  description = "ARN of the policy that whoever asks questions needs; `reader_roles` and `reader_groups` have it."
  value       = aws_iam_policy.reader.arn
}
