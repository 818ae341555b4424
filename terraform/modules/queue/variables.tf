variable "name" {
  description = "Name of the queue, without `.fifo`; its dead-letter queue is `NAME-dlq`."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,71}$", var.name))
    error_message = "name: 1 to 71 letters, digits, `-` and `_`, so that `-dlq.fifo` still fits into SQS's 80."
  }
}

variable "fifo" {
  description = "Keep the order within a message group and drop what is sent twice within 5 minutes."
  type        = bool
  default     = true
}

variable "consumer_timeout_s" {
  description = "Time-out of the function that reads the queue; a message stays hidden six times as long."
  type        = number

  validation {
    condition     = var.consumer_timeout_s >= 1 && var.consumer_timeout_s <= 900
    error_message = "consumer_timeout_s: 1 to 900, as of a Lambda function."
  }
}

variable "consumer_window_s" {
  description = "Batching window of the function that reads the queue, which adds to the time a message is hidden."
  type        = number
  default     = 0

  validation {
    condition     = var.consumer_window_s >= 0 && var.consumer_window_s <= 300
    error_message = "consumer_window_s: 0 to 300."
  }
}

variable "dead_letters" {
  description = "Make a dead-letter queue. Off only for a queue that itself takes what failed elsewhere."
  type        = bool
  default     = true
}

variable "receive_count_max" {
  description = "Times a message is received before it is a dead letter. Less than 5 loses messages to mere throttling."
  type        = number
  default     = 5

  validation {
    condition     = var.receive_count_max >= 5 && var.receive_count_max <= 1000
    error_message = "receive_count_max: 5 to 1000."
  }
}

variable "retention_days" {
  description = "Days a message waits to be read."
  type        = number
  default     = 4

  validation {
    condition     = var.retention_days >= 1 && var.retention_days <= 14
    error_message = "retention_days: 1 to 14."
  }
}

variable "message_bytes_max" {
  description = "Largest message in bytes. The provider knows no more than 256 KiB; larger events go by S3 anyway."
  type        = number
  default     = 262144

  validation {
    condition     = var.message_bytes_max >= 1024 && var.message_bytes_max <= 262144
    error_message = "message_bytes_max: 1024 to 262144."
  }
}

variable "senders" {
  description = "AWS services that may send to the queue, by statement id: the service and the ARN (or pattern) of what it sends for. Functions send by their roles and aren't listed."
  type        = map(object({ service = string, source_arn = string }))
  default     = {}

  validation {
    condition     = alltrue([for sender in values(var.senders) : endswith(sender.service, ".amazonaws.com") && startswith(sender.source_arn, "arn:")])
    error_message = "senders: service ends in `.amazonaws.com` and source_arn begins with `arn:`."
  }
}

variable "kms_key_arn" {
  description = "Customer key that encrypts the messages; null is SQS's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
