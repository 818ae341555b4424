output "job_name" {
  description = "Name of the job: `aws glue start-job-run --job-name`."
  value       = aws_glue_job.build.name
}

output "job_arn" {
  description = "ARN of the job."
  value       = aws_glue_job.build.arn
}

output "role_arn" {
  description = "ARN of the job's role."
  value       = aws_iam_role.job.arn
}

output "security_configuration" {
  description = "Name of the Glue security configuration, which the catalog's crawlers can use too."
  value       = aws_glue_security_configuration.job.name
}
