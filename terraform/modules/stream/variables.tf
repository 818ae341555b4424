variable "prefix" {
  description = "What all names begin with."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "kind" {
  description = "`kinesis` or `sqs`."
  type        = string

  validation {
    condition     = contains(["kinesis", "sqs"], var.kind)
    error_message = "kind: `kinesis` or `sqs`."
  }
}

variable "consumer_timeout_s" {
  description = "Time-out of the function that reads it."
  type        = number

  validation {
    condition     = var.consumer_timeout_s >= 1 && var.consumer_timeout_s <= 900
    error_message = "consumer_timeout_s: 1 to 900, as of a Lambda function."
  }
}

variable "retention_hours" {
  description = "How long Kinesis keeps a record. More than a day costs extra."
  type        = number
  default     = 24

  validation {
    condition     = var.retention_hours >= 24 && var.retention_hours <= 8760
    error_message = "retention_hours: 24 to 8760."
  }
}

variable "kms_key_arn" {
  description = "Customer key that encrypts the records; null is AWS's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
