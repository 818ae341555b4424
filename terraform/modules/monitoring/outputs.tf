output "alarm_names" {
  description = "Names of all metric alarms."
  value       = sort(keys(aws_cloudwatch_metric_alarm.this))
}

output "health_alarm" {
  description = "Name of the composite alarm; null in the free tier."
  value       = one(aws_cloudwatch_composite_alarm.health[*].alarm_name)
}

output "dashboard" {
  description = "Name of the dashboard; null where there is none."
  value       = one(aws_cloudwatch_dashboard.this[*].dashboard_name)
}
