variable "prefix" {
  description = "What all names start with; also the namespace of the metrics made from logs."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "topic_arn" {
  description = "ARN of the SNS topic that every alarm tells."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[^:]+:sns:", var.topic_arn))
    error_message = "topic_arn: the ARN of an SNS topic."
  }
}

variable "pager_topic_arns" {
  description = "ARNs of SNS topics that the composite alarm tells as well: one call for all alarms."
  type        = list(string)
  nullable    = false
  default     = []

  validation {
    condition     = alltrue([for arn in var.pager_topic_arns : can(regex("^arn:[^:]+:sns:", arn))])
    error_message = "pager_topic_arns: ARNs of SNS topics."
  }
}

variable "functions" {
  description = "Functions to watch, by full name: their log group, and whether they read a stream."
  type        = map(object({ log_group = string, iterator_age = optional(bool, false) }))
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.functions) : can(regex("^[a-zA-Z0-9_-]{1,64}$", name))])
    error_message = "functions: names of 1 to 64 letters, digits, `-` and `_`."
  }
}

variable "queues" {
  description = "Queues to watch, by full name, and how old the oldest message may grow."
  type        = map(object({ age_seconds_max = number }))
  nullable    = false
  validation {
    condition     = alltrue([for queue in values(var.queues) : queue.age_seconds_max > 0])
    error_message = "queues: age_seconds_max must be above 0."
  }
}

variable "dead_letter_queues" {
  description = "Full names of the queues that hold what was given up, the one of failed stream batches included."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in var.dead_letter_queues : can(regex("^[a-zA-Z0-9_-]{1,80}(\\.fifo)?$", name))])
    error_message = "dead_letter_queues: names, not URLs or ARNs."
  }
}

variable "delivery" {
  description = "Firehose streams to watch, by full name: their log group, null for none, and whether their freshness is watched in the free tier too."
  type        = map(object({ log_group = optional(string), vital = optional(bool, false) }))
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.delivery) : can(regex("^[a-zA-Z0-9._-]{1,64}$", name))])
    error_message = "delivery: names of 1 to 64 letters, digits, `.`, `-` and `_`."
  }
}

variable "stream" {
  description = "Full name of the Kinesis stream; null where clicks take a queue."
  type        = string
  default     = null

  validation {
    condition     = var.stream == null || can(regex("^[a-zA-Z0-9._-]{1,128}$", var.stream))
    error_message = "stream: a name, not an ARN; or null."
  }
}

variable "iterator_age_seconds_max" {
  description = "How far a function may be behind its stream."
  type        = number
  nullable    = false
  default     = 900
  validation {
    condition     = var.iterator_age_seconds_max > 0 && var.iterator_age_seconds_max <= 43200
    error_message = "iterator_age_seconds_max must be above 0 and at most 43200: a stream keeps a day, and somebody must have time to act."
  }
}

variable "freshness_seconds_max" {
  description = "How old a record may grow that Firehose has not delivered; above its buffering time."
  type        = number
  nullable    = false
  default     = 1800
  validation {
    condition     = var.freshness_seconds_max >= 900
    error_message = "freshness_seconds_max must be at least 900, the longest that Firehose buffers."
  }
}

variable "free_tier_only" {
  description = "Keep to what CloudWatch gives for free: at most ten alarm metrics, no composite alarm, no dashboard."
  type        = bool
  nullable    = false
}

variable "dashboard" {
  description = "Make the dashboard. An account's first three of up to 50 metrics are free, each other is 3 USD a month; `free_tier_only` makes none."
  type        = bool
  nullable    = false
  default     = true
}
