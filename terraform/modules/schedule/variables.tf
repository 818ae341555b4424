variable "name" {
  description = "Name of the rule."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,64}$", var.name))
    error_message = "name: 1 to 64 letters, digits, `-` and `_`; it also names a Lambda permission, which takes no `.`."
  }
}

variable "description" {
  description = "What the rule is for."
  type        = string

  validation {
    condition     = length(var.description) > 0 && length(var.description) <= 512
    error_message = "description: 1 to 512 characters."
  }
}

variable "every" {
  description = "When: `rate(1 minute)` or `cron(0 3 * * ? *)` in UTC; null for a rule with a pattern."
  type        = string
  default     = null

  validation {
    condition     = var.every == null || can(regex("^(rate|cron)\\(.+\\)$", var.every))
    error_message = "every: `rate(…)`, `cron(…)` or null."
  }
}

variable "pattern" {
  description = "Which events of the account's bus; null for a rule with times."
  type        = any
  default     = null

  validation {
    condition     = (var.pattern == null) != (var.every == null)
    error_message = "Give either every or pattern."
  }
}

variable "input" {
  description = "What the function is called with; null for the event itself."
  type        = any
  default     = null

  validation {
    condition     = var.input == null || var.every != null
    error_message = "input: only for a rule with times; a rule with a pattern hands on what happened."
  }
}

variable "function_name" {
  description = "Name of the function to call."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,64}$", var.function_name))
    error_message = "function_name: 1 to 64 letters, digits, `-` and `_`."
  }
}

variable "function_arn" {
  description = "ARN of the function to call."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:lambda:", var.function_arn))
    error_message = "function_arn: the ARN of a Lambda function."
  }
}

variable "retries_max" {
  description = "Times a call is tried again that Lambda didn't take."
  type        = number
  default     = 20

  validation {
    condition     = var.retries_max >= 0 && var.retries_max <= 185
    error_message = "retries_max: 0 to 185."
  }
}

variable "event_age_max_s" {
  description = "Seconds after which a call isn't tried again."
  type        = number
  default     = 3600

  validation {
    condition     = var.event_age_max_s >= 60 && var.event_age_max_s <= 86400
    error_message = "event_age_max_s: 60 to 86400."
  }
}

variable "failures_arn" {
  description = "ARN of the queue that takes events which couldn't be handed over. Its policy must let EventBridge in."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:sqs:", var.failures_arn))
    error_message = "failures_arn: the ARN of an SQS queue."
  }
}
