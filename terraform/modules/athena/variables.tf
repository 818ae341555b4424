variable "prefix" {
  description = "What all names start with; the workgroup's whole name."
  type        = string
  nullable    = false
}

variable "results" {
  description = "The bucket that takes the results of queries, under `athena/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false
}

variable "database" {
  description = "The Glue database that queries name."
  type        = string
  nullable    = false
}

variable "readable_arns" {
  description = "ARNs of the objects (`<bucket ARN>/<path>/*`) that a reader's queries may read, by any key."
  type        = map(string)
  nullable    = false
  validation {
    condition     = alltrue([for arn in values(var.readable_arns) : can(regex("^arn:[^:]+:s3:::[^/*]+/.+$", arn))])
    error_message = "readable_arns must be ARNs of objects in a bucket, with a path after it."
  }
}

variable "bytes_scanned_max" {
  description = "A query that would scan more bytes than this is cancelled; 10 GB cost about 0.05 USD."
  type        = number
  nullable    = false
  default     = 10737418240
  validation {
    condition     = var.bytes_scanned_max >= 10485760
    error_message = "bytes_scanned_max must be at least 10485760 (10 MB): Athena takes no less."
  }
}

variable "queries" {
  description = "More named queries, by name; one of the same name replaces the module's own."
  type        = map(object({ description = string, sql = string }))
  nullable    = false
  default     = {}
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts results; null leaves it to S3's own keys, which are free."
  type        = string
  default     = null
}
