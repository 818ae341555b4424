variable "prefix" {
  description = "What all names start with; the workgroup's whole name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "results" {
  description = "The bucket that takes the results of queries, under `athena/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false

  validation {
    condition     = length(var.results.bucket) > 0 && can(regex("^arn:[^:]+:s3:::", var.results.arn))
    error_message = "results: the name and the ARN of a bucket."
  }
}

variable "database" {
  description = "The Glue database that queries name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_]{1,255}$", var.database))
    error_message = "database: small letters, digits and `_`, as Glue and Athena have them."
  }
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

  validation {
    condition     = alltrue([for query in values(var.queries) : length(query.description) > 0 && length(query.sql) > 0])
    error_message = "queries: each has a description and SQL."
  }
}

variable "kms_key_arn" {
  description = "The KMS key that encrypts results; null leaves it to S3's own keys, which are free."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}

variable "reader_roles" {
  description = "Names of the roles that get the reader's policy."
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for name in var.reader_roles : can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", name))])
    error_message = "reader_roles: names of roles, without their paths."
  }
}

variable "reader_groups" {
  description = "Names of the groups that get the reader's policy."
  type        = set(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for name in var.reader_groups : can(regex("^[A-Za-z0-9+=,.@_-]{1,128}$", name))])
    error_message = "reader_groups: names of groups."
  }
}
