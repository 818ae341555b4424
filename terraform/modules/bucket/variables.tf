variable "name" {
  description = "Name of the bucket, unique in the world."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "name: 3 to 63 small letters, digits and `-`, a letter or digit first and last."
  }
}

variable "lifecycle_rules" {
  description = "By name: which objects (prefix) go to cheaper storage after so many days, and which are removed. The Glacier class is Instant Retrieval, the only one that Athena can read."
  type = map(object({
    prefix                = optional(string, "")
    infrequent_after_days = optional(number)
    glacier_after_days    = optional(number)
    expire_after_days     = optional(number)
  }))
  default = {}

  validation {
    condition = alltrue([for rule in values(var.lifecycle_rules) :
      coalesce(rule.infrequent_after_days, 30) >= 30
      && coalesce(rule.glacier_after_days, 1000000) >= coalesce(rule.infrequent_after_days, 0) + 30
      && coalesce(rule.expire_after_days, 1000000) > max(coalesce(rule.infrequent_after_days, 0), coalesce(rule.glacier_after_days, 0))
    ])
    error_message = "lifecycle_rules: infrequent access from day 30, Glacier 30 days later at the earliest, removal after both."
  }

  validation {
    condition     = !contains(keys(var.lifecycle_rules), "tidy")
    error_message = "lifecycle_rules: `tidy` is the module's own rule."
  }
}

variable "old_versions_days" {
  description = "Days that overwritten and deleted objects can be had back."
  type        = number
  default     = 7

  validation {
    condition     = var.old_versions_days >= 1
    error_message = "old_versions_days: at least 1."
  }
}

variable "eventbridge" {
  description = "Tell EventBridge of every object made or removed."
  type        = bool
  default     = false
}

variable "force_destroy" {
  description = "Let `terraform destroy` remove the bucket with all objects in it."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "Customer key that encrypts the objects; null is S3's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
