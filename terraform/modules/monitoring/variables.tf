variable "prefix" {
  description = "What all names start with; also the namespace of the metrics made from logs."
  type        = string
  nullable    = false
}

variable "topic_arn" {
  description = "ARN of the SNS topic that every alarm tells."
  type        = string
  nullable    = false
}

variable "pager_topic_arns" {
  description = "ARNs of SNS topics that the composite alarm tells as well: one call for all alarms."
  type        = list(string)
  nullable    = false
  default     = []
}

variable "functions" {
  description = "Functions to watch, by full name: their log group, and whether they read a stream."
  type        = map(object({ log_group = string, iterator_age = optional(bool, false) }))
  nullable    = false
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
}

variable "delivery" {
  description = "Firehose streams to watch, by full name: their log group, null for none, and whether their freshness is watched in the free tier too."
  type        = map(object({ log_group = optional(string), vital = optional(bool, false) }))
  nullable    = false
}

variable "stream" {
  description = "Full name of the Kinesis stream; null where clicks take a queue."
  type        = string
  default     = null
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
