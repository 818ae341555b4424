variable "prefix" {
  description = "What all names start with."
  type        = string
  nullable    = false
}

variable "workgroup" {
  description = "The Athena workgroup that QuickSight asks."
  type        = string
  nullable    = false
}

variable "database" {
  description = "The Glue database with the gold tables."
  type        = string
  nullable    = false
}

variable "principal_arns" {
  description = "ARNs of the QuickSight users or groups who may see and change the analysis."
  type        = set(string)
  nullable    = false
  validation {
    condition     = length(var.principal_arns) > 0 && alltrue([for arn in var.principal_arns : can(regex("^arn:[^:]+:quicksight:[^:]+:[0-9]{12}:(user|group)/.+$", arn))])
    error_message = "principal_arns must name at least one QuickSight user or group (arn:aws:quicksight:REGION:ACCOUNT:user/default/NAME): nobody could see it otherwise."
  }
}
