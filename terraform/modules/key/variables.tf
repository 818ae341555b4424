variable "name" {
  description = "Alias of the key, without `alias/`."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9/_-]{1,249}$", var.name)) && !startswith(var.name, "aws/")
    error_message = "name: letters, digits, `/`, `_` and `-`; not `aws/…`, which AWS keeps for itself."
  }
}

variable "deletion_window_days" {
  description = "Days between the key's removal here and its end, in which it can be had back. Data can't be read without it."
  type        = number
  default     = 30

  validation {
    condition     = var.deletion_window_days >= 7 && var.deletion_window_days <= 30
    error_message = "deletion_window_days: 7 to 30."
  }
}
