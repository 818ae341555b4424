variable "prefix" {
  description = "What all names start with."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "resource_arns" {
  description = "ARNs of what the web ACL stands before, by any key: stages of REST APIs or load balancers. WAF takes neither HTTP APIs nor Function URLs."
  type        = map(string)
  nullable    = false

  validation {
    condition     = alltrue([for arn in values(var.resource_arns) : can(regex("^arn:", arn))])
    error_message = "resource_arns: ARNs."
  }
}

variable "requests_per_address_max" {
  description = "Requests of one address within the window above which it gets 429. A shop's own server sends for all its users: raise it for one."
  type        = number
  nullable    = false
  default     = 20000
  validation {
    condition     = var.requests_per_address_max >= 10 && var.requests_per_address_max <= 2000000000
    error_message = "requests_per_address_max must be from 10 to 2000000000: AWS takes no other."
  }
}

variable "window_seconds" {
  description = "The window that requests are counted in."
  type        = number
  nullable    = false
  default     = 300
  validation {
    condition     = contains([60, 120, 300, 600], var.window_seconds)
    error_message = "window_seconds must be 60, 120, 300 or 600: AWS takes no other."
  }
}

variable "log_days" {
  description = "How long to keep the log of blocked requests."
  type        = number
  nullable    = false
  default     = 365
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_days)
    error_message = "log_days must be one of CloudWatch's: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts the log; null leaves it to CloudWatch's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
