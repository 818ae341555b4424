variable "name" {
  description = "Name of the function and its role."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,64}$", var.name))
    error_message = "name: 1 to 64 letters, digits, `-` and `_`."
  }
}

variable "description" {
  description = "What the function does."
  type        = string

  validation {
    condition     = length(var.description) > 0 && length(var.description) <= 256
    error_message = "description: 1 to 256 characters."
  }
}

variable "package" {
  description = "The zip that `shopstream package lambda` built: the bucket and key where it lies, and its SHA-256 in base64."
  type        = object({ bucket = string, key = string, sha256 = string })

  validation {
    condition     = endswith(var.package.key, ".zip") && can(regex("^[A-Za-z0-9+/]{43}=$", var.package.sha256))
    error_message = "package: the key ends in `.zip`, sha256 is what filebase64sha256() gives."
  }
}

variable "handler" {
  description = "Handler, as `package.module.function`."
  type        = string

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_.]*\\.[a-z_][a-z0-9_]*$", var.handler))
    error_message = "handler: like `shopstream.aws.handlers.collector`."
  }
}

variable "runtime" {
  description = "Python of the function; the one that the zip was built for."
  type        = string
  default     = "python3.13"

  validation {
    condition     = contains(["python3.11", "python3.12", "python3.13"], var.runtime)
    error_message = "runtime: `python3.11`, `python3.12` or `python3.13`."
  }
}

variable "architecture" {
  description = "Processor of the function; the one that the zip was built for. `arm64` costs a fifth less."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture: `arm64` or `x86_64`."
  }
}

variable "memory_mib" {
  description = "Memory in MiB; the share of a processor grows with it (1,769 is one)."
  type        = number
  default     = 512

  validation {
    condition     = var.memory_mib >= 128 && var.memory_mib <= 10240
    error_message = "memory_mib: 128 to 10240."
  }
}

variable "storage_mib" {
  description = "Room on disk (`/tmp`) in MiB; what is above 512 costs a little by the second."
  type        = number
  default     = 512

  validation {
    condition     = var.storage_mib >= 512 && var.storage_mib <= 10240
    error_message = "storage_mib: 512 to 10240."
  }
}

variable "timeout_s" {
  description = "Seconds after which a call is ended."
  type        = number
  default     = 60

  validation {
    condition     = var.timeout_s >= 1 && var.timeout_s <= 900
    error_message = "timeout_s: 1 to 900."
  }
}

variable "reserved_concurrency" {
  description = "Most calls at once, kept free for this function; -1 for no reservation. An account needs 100 unreserved, so a new one (10 in all) can't reserve any."
  type        = number
  default     = -1

  validation {
    condition     = var.reserved_concurrency == -1 || var.reserved_concurrency >= 1
    error_message = "reserved_concurrency: -1, or 1 and more."
  }
}

variable "environment" {
  description = "Environment variables."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^[A-Z][A-Z0-9_]*$", name)) && !startswith(name, "AWS_")])
    error_message = "environment: names in capitals; `AWS_…` belongs to Lambda."
  }
}

variable "statements" {
  description = "What the function's role may do: actions and resources by name, no wildcards in actions and no bare `*`, except for metrics, which know no resources."
  type = list(object({
    sid        = string
    actions    = list(string)
    resources  = list(string)
    conditions = optional(map(map(list(string))), {})
  }))
  default = []

  validation {
    condition     = alltrue(flatten([for statement in var.statements : [for action in statement.actions : can(regex("^[a-z0-9-]+:[A-Za-z]+$", action))]]))
    error_message = "statements: each action is named in full, like `sqs:SendMessage`."
  }

  validation {
    condition     = alltrue([for statement in var.statements : !contains(statement.resources, "*") || alltrue([for action in statement.actions : action == "cloudwatch:PutMetricData"])])
    error_message = "statements: resources are named."
  }
}

variable "queues" {
  description = "SQS queues that the function reads, by a name of your own. FIFO queues take at most 10 a batch and no window."
  type = map(object({
    arn             = string
    batch_size      = optional(number, 10)
    concurrency_max = optional(number)
  }))
  default = {}

  validation {
    condition     = alltrue([for queue in values(var.queues) : queue.batch_size >= 1 && queue.batch_size <= 10])
    error_message = "queues: batch_size is 1 to 10."
  }

  validation {
    condition     = alltrue([for queue in values(var.queues) : coalesce(queue.concurrency_max, 2) >= 2 && coalesce(queue.concurrency_max, 2) <= 1000])
    error_message = "queues: concurrency_max is 2 to 1000."
  }

  validation {
    condition     = var.reserved_concurrency == -1 || alltrue([for queue in values(var.queues) : queue.concurrency_max != null && coalesce(queue.concurrency_max, 0) <= var.reserved_concurrency])
    error_message = "queues: with reserved_concurrency, give each queue a concurrency_max that fits into it, or throttled messages become dead letters."
  }
}

variable "kinesis_streams" {
  description = "Kinesis streams that the function reads, by a name of your own."
  type = map(object({
    arn              = string
    batch_size       = optional(number, 100)
    window_s         = optional(number, 1)
    parallelization  = optional(number, 1)
    retries_max      = optional(number, 100)
    record_age_max_s = optional(number, 21600)
    patterns         = optional(list(string))
  }))
  default = {}

  validation {
    condition     = alltrue([for stream in values(var.kinesis_streams) : stream.retries_max >= 0 && stream.retries_max <= 10000])
    error_message = "kinesis_streams: retries_max is 0 to 10000; -1 (for ever) would let one record stop its shard."
  }

  validation {
    condition     = alltrue([for stream in values(var.kinesis_streams) : stream.record_age_max_s >= 60 && stream.record_age_max_s < 86400])
    error_message = "kinesis_streams: record_age_max_s is at least 60 and below the stream's day, so that it is given up before it is gone."
  }

  validation {
    condition     = alltrue([for stream in values(var.kinesis_streams) : stream.batch_size >= 1 && stream.batch_size <= 10000 && stream.window_s >= 0 && stream.window_s <= 300 && stream.parallelization >= 1 && stream.parallelization <= 10])
    error_message = "kinesis_streams: batch_size 1 to 10000, window_s 0 to 300, parallelization 1 to 10."
  }
}

variable "table_streams" {
  description = "Streams of DynamoDB tables that the function reads, one batch of a shard at a time, by a name of your own; `patterns` are event filters as JSON."
  type = map(object({
    arn              = string
    batch_size       = optional(number, 100)
    window_s         = optional(number, 0)
    retries_max      = optional(number, 100)
    record_age_max_s = optional(number, 21600)
    patterns         = optional(list(string))
  }))
  default = {}

  validation {
    condition     = alltrue([for stream in values(var.table_streams) : stream.retries_max >= 0 && stream.retries_max <= 10000])
    error_message = "table_streams: retries_max is 0 to 10000; -1 (for ever) would let one record stop its shard."
  }

  validation {
    condition     = alltrue([for stream in values(var.table_streams) : stream.record_age_max_s >= 60 && stream.record_age_max_s < 86400])
    error_message = "table_streams: record_age_max_s is at least 60 and below the stream's day, so that it is given up before it is gone."
  }

  validation {
    condition     = alltrue([for stream in values(var.table_streams) : stream.batch_size >= 1 && stream.batch_size <= 10000 && stream.window_s >= 0 && stream.window_s <= 300])
    error_message = "table_streams: batch_size 1 to 10000, window_s 0 to 300."
  }

  validation {
    condition     = length(setintersection(keys(var.table_streams), keys(var.kinesis_streams))) == 0
    error_message = "table_streams: a name that kinesis_streams has, too."
  }
}

variable "async_retries_max" {
  description = "Times that a call which nobody waits for is tried again when it fails."
  type        = number
  default     = 2

  validation {
    condition     = var.async_retries_max >= 0 && var.async_retries_max <= 2
    error_message = "async_retries_max: 0 to 2."
  }
}

variable "async_event_age_max_s" {
  description = "Seconds that such a call may wait to be tried."
  type        = number
  default     = 3600

  validation {
    condition     = var.async_event_age_max_s >= 60 && var.async_event_age_max_s <= 21600
    error_message = "async_event_age_max_s: 60 to 21600."
  }
}

variable "given_up_arn" {
  description = "ARN of the bucket that keeps the records of streams that were given up, whole, under `aws/lambda/`; needed with streams."
  type        = string
  default     = null

  validation {
    condition     = var.given_up_arn == null ? length(var.kinesis_streams) + length(var.table_streams) == 0 : can(regex("^arn:[^:]+:s3:::[^/]+$", var.given_up_arn))
    error_message = "given_up_arn: the ARN of a bucket; without it records of streams that no try can process would be lost."
  }
}

variable "failures_arn" {
  description = "ARN of the standard queue that gets calls which were given up and nobody waited for."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:sqs:", var.failures_arn)) && !endswith(var.failures_arn, ".fifo")
    error_message = "failures_arn: the ARN of a standard SQS queue; Lambda can't send to a FIFO one."
  }
}

variable "tracing" {
  description = "Trace calls with X-Ray."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that the log is kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days: one of CloudWatch's choices, such as 14, 30, 90, 365."
  }
}

variable "kms_key_arn" {
  description = "Customer key that encrypts the environment and the log, and all that the function reads and writes; null is AWS's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
