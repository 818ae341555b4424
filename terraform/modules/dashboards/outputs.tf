output "analysis_id" {
  description = "Id of the analysis in QuickSight."
  value       = aws_quicksight_analysis.shop.analysis_id
}

output "data_set_ids" {
  description = "Ids of the data sets, by table."
  value       = { for table, set in aws_quicksight_data_set.gold : table => set.data_set_id }
}
