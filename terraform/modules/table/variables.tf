variable "name" {
  description = "Name of the table."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.-]{3,255}$", var.name))
    error_message = "name: 3 to 255 letters, digits, `_`, `-` and `.`."
  }
}

variable "hash_key" {
  description = "Partition key: name and type (`S`, `N` or `B`). An id, never a date, or one partition takes all writes of a day."
  type        = object({ name = string, type = optional(string, "S") })
  default     = { name = "pk" }

  validation {
    condition     = contains(["S", "N", "B"], var.hash_key.type)
    error_message = "hash_key: type is `S`, `N` or `B`."
  }
}

variable "range_key" {
  description = "Sort key: name and type; null for a table without."
  type        = object({ name = string, type = optional(string, "S") })
  default     = { name = "sk" }

  validation {
    condition     = var.range_key == null || contains(["S", "N", "B"], try(var.range_key.type, ""))
    error_message = "range_key: type is `S`, `N` or `B`."
  }
}

variable "indexes" {
  description = "Global secondary indexes by name, each with its keys. They hold the whole item."
  type = map(object({
    hash_key  = object({ name = string, type = optional(string, "S") })
    range_key = optional(object({ name = string, type = optional(string, "S") }))
  }))
  default = {}

  validation {
    condition     = length(var.indexes) <= 20
    error_message = "indexes: at most 20, DynamoDB's limit."
  }
}

variable "stream_view" {
  description = "What the table's stream carries: `NEW_IMAGE`, `OLD_IMAGE`, `NEW_AND_OLD_IMAGES` or `KEYS_ONLY`; null for no stream."
  type        = string
  default     = null

  validation {
    condition     = var.stream_view == null || contains(["NEW_IMAGE", "OLD_IMAGE", "NEW_AND_OLD_IMAGES", "KEYS_ONLY"], coalesce(var.stream_view, "KEYS_ONLY"))
    error_message = "stream_view: `NEW_IMAGE`, `OLD_IMAGE`, `NEW_AND_OLD_IMAGES`, `KEYS_ONLY` or null."
  }
}

variable "ttl_attribute" {
  description = "Attribute with the second (Unix time) after which DynamoDB removes the item; null for none."
  type        = string
  default     = "expires"

  validation {
    condition     = var.ttl_attribute == null || can(regex("^.{1,255}$", var.ttl_attribute))
    error_message = "ttl_attribute: 1 to 255 characters, or null."
  }
}

variable "point_in_time_recovery" {
  description = "Keep 35 days of backups. Costs by the stored GB."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Refuse to delete the table."
  type        = bool
  default     = false
}

variable "kms_key_arn" {
  description = "Customer key that encrypts the table; null is DynamoDB's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
