variable "prefix" {
  description = "What all names start with."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "workgroup" {
  description = "The Athena workgroup that QuickSight asks."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,128}$", var.workgroup))
    error_message = "workgroup: 1 to 128 letters, digits, `.`, `_` and `-`."
  }
}

variable "database" {
  description = "The Glue database with the gold tables."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_]{1,255}$", var.database))
    error_message = "database: small letters, digits and `_`, as Glue and Athena have them."
  }
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
