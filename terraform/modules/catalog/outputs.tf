output "database" {
  description = "Name of the database."
  value       = aws_glue_catalog_database.this.name
}

output "database_arn" {
  description = "ARN of the database."
  value       = aws_glue_catalog_database.this.arn
}

output "table_names" {
  description = "Names of the tables of what landed."
  value       = sort(keys(aws_glue_catalog_table.landed))
}

output "table_arns" {
  description = "ARNs of the tables of what landed, by name."
  value       = { for name, table in aws_glue_catalog_table.landed : name => table.arn }
}

output "crawlers" {
  description = "Names of the crawlers: `aws glue start-crawler --name`."
  value       = { for key, crawler in aws_glue_crawler.this : key => crawler.name }
}
