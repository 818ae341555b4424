variable "name" {
  description = "Name of the delivery stream and its role."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,64}$", var.name))
    error_message = "name: 1 to 64 letters, digits, `.`, `-` and `_`."
  }
}

variable "bucket_arn" {
  description = "ARN of the bucket."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:s3:::", var.bucket_arn))
    error_message = "bucket_arn: the ARN of a bucket."
  }
}

variable "prefix" {
  description = "Where objects go, `/` last; `dt=YYYY-MM-DD/hour=HH/` follows."
  type        = string

  validation {
    condition     = endswith(var.prefix, "/")
    error_message = "prefix: ends in `/`."
  }
}

variable "error_prefix" {
  description = "Where records go that Firehose couldn't write, `/` last; outside of prefix, so that no table reads them."
  type        = string

  validation {
    condition     = endswith(var.error_prefix, "/") && !startswith(var.error_prefix, var.prefix)
    error_message = "error_prefix: ends in `/` and doesn't lie in prefix."
  }
}

variable "buffer_mib" {
  description = "An object is written once so many MiB have come…"
  type        = number
  default     = 64

  validation {
    condition     = var.buffer_mib >= 1 && var.buffer_mib <= 128
    error_message = "buffer_mib: 1 to 128."
  }
}

variable "buffer_s" {
  description = "…or so many seconds have passed. Shorter is fresher and makes more, smaller objects."
  type        = number
  default     = 60

  validation {
    condition     = var.buffer_s >= 0 && var.buffer_s <= 900
    error_message = "buffer_s: 0 to 900."
  }
}

variable "log_retention_days" {
  description = "Days that Firehose's error log is kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days: one of CloudWatch's choices, such as 14, 30, 90, 365."
  }
}

variable "kms_key_arn" {
  description = "Customer key that encrypts records, objects and the log; null is AWS's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
