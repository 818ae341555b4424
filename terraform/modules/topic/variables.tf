variable "name" {
  description = "Name of the topic."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,256}$", var.name))
    error_message = "name: 1 to 256 letters, digits, `-` and `_`."
  }
}

variable "emails" {
  description = "Addresses that get each message as a mail, once they have confirmed the first one."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "emails: each like `name@example.com`."
  }
}

variable "queues" {
  description = "SQS queues that get each message, by a name of your own: the queue's ARN, the attributes it wants (empty is all), and whether the bare message is sent. Its policy must let SNS in."
  type = map(object({
    arn    = string
    filter = optional(map(list(string)), {})
    raw    = optional(bool, true)
  }))
  default = {}

  validation {
    condition     = alltrue([for queue in values(var.queues) : can(regex("^arn:[^:]+:sqs:", queue.arn))])
    error_message = "queues: arn is the ARN of an SQS queue."
  }
}

variable "publishers" {
  description = "AWS services that may publish, by statement id, and the account that they must do it for; `says_account` is false for a service that needn't say which that is. Functions publish by their roles and aren't listed."
  type        = map(object({ service = string, account = string, says_account = optional(bool, true) }))
  default     = {}

  validation {
    condition     = alltrue([for publisher in values(var.publishers) : endswith(publisher.service, ".amazonaws.com") && can(regex("^[0-9]{12}$", publisher.account))])
    error_message = "publishers: service ends in `.amazonaws.com`, account has 12 digits."
  }
}

variable "failures_arn" {
  description = "ARN of the standard queue that takes what a subscriber couldn't be given. Its policy must let SNS in."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:sqs:", var.failures_arn)) && !endswith(var.failures_arn, ".fifo")
    error_message = "failures_arn: the ARN of a standard SQS queue."
  }
}

variable "kms_key_arn" {
  description = "Customer key that encrypts the messages; null is none, as alarms can't publish under SNS's own key."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
