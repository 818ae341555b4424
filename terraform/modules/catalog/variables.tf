variable "prefix" {
  description = "What all names start with."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "database" {
  description = "Name of the Glue database."
  type        = string
  nullable    = false
  default     = "ecommerce_analytics_db"
  validation {
    condition     = can(regex("^[a-z][a-z0-9_]*$", var.database))
    error_message = "database must be lower-case letters, digits and underscores: Athena takes no other without quotes."
  }
}

variable "lake" {
  description = "The bucket of the lake: `bronze/`, `archive/orders/`, `warehouse/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false

  validation {
    condition     = length(var.lake.bucket) > 0 && can(regex("^arn:[^:]+:s3:::", var.lake.arn))
    error_message = "lake: the name and the ARN of a bucket."
  }
}

variable "archive" {
  description = "The bucket that keeps every offer, under `offers/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false

  validation {
    condition     = length(var.archive.bucket) > 0 && can(regex("^arn:[^:]+:s3:::", var.archive.arn))
    error_message = "archive: the name and the ARN of a bucket."
  }
}

variable "tables" {
  description = "Tables of JSON lines, by name: what they are, in which of the two buckets (`lake`, `archive`) under which prefix, by which of `dt` and `hour` they are partitioned, from which day, and their columns in Hive's types. Null takes those of the package (`catalog.json`, made by `shopstream lake catalog`)."
  type = map(object({
    description = string
    in          = string
    prefix      = string
    partitions  = list(string)
    columns     = list(object({ name = string, type = string, comment = string }))
    first_day   = optional(string)
  }))
  default = null
  validation {
    condition     = alltrue([for table in values(coalesce(var.tables, {})) : contains(["lake", "archive"], table.in)])
    error_message = "tables: `in` must be lake or archive."
  }
  validation {
    condition     = alltrue([for table in values(coalesce(var.tables, {})) : length(setsubtract(table.partitions, ["dt", "hour"])) == 0])
    error_message = "tables: partitions must be of dt and hour."
  }
}

variable "first_day" {
  description = "The first day that can have landed, YYYY-MM-DD, where a table says no other; the archive's tables begin in 2000. Queries that name no day look at every day from here."
  type        = string
  nullable    = false
  default     = "2026-01-01"
  validation {
    condition     = can(formatdate("YYYY", "${var.first_day}T00:00:00Z"))
    error_message = "first_day must be YYYY-MM-DD."
  }
}

variable "crawler_schedule" {
  description = "When the crawlers run, `cron(…)` in UTC; null leaves them until somebody starts one, and costs nothing."
  type        = string
  default     = null
  validation {
    condition     = var.crawler_schedule == null || can(regex("^cron\\(.+\\)$", var.crawler_schedule))
    error_message = "crawler_schedule must be like cron(0 3 * * ? *)."
  }
}

variable "security_configuration" {
  description = "Glue security configuration for the crawlers' logs; null for none."
  type        = string
  default     = null

  validation {
    condition     = var.security_configuration == null || can(regex("^.{1,255}$", var.security_configuration))
    error_message = "security_configuration: a name of 1 to 255 characters, or null."
  }
}

variable "kms_key_arn" {
  description = "The KMS key that the buckets are encrypted with; null where they use S3's own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
