variable "prefix" {
  description = "What all names start with."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "script_file" {
  description = "The job's script on this machine: `shopstream/lake/glue_job.py` of the package."
  type        = string
  nullable    = false

  validation {
    condition     = endswith(var.script_file, ".py")
    error_message = "script_file: the path of a .py file."
  }
}

variable "package_file" {
  description = "A zip of the package `shopstream` on this machine."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("\\.(zip|whl)$", var.package_file))
    error_message = "package_file: the path of a .zip or .whl file."
  }
}

variable "artifacts" {
  description = "The bucket that takes the script and the package, under `glue/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false

  validation {
    condition     = length(var.artifacts.bucket) > 0 && can(regex("^arn:[^:]+:s3:::", var.artifacts.arn))
    error_message = "artifacts: the name and the ARN of a bucket."
  }
}

variable "lake" {
  description = "The bucket of the lake: reads `bronze/`, writes `warehouse/`."
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

variable "database" {
  description = "The Glue database that the tables are registered in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9_]{1,255}$", var.database))
    error_message = "database: small letters, digits and `_`, as Glue and Athena have them."
  }
}

variable "catalog" {
  description = "What Spark calls Glue's catalog."
  type        = string
  nullable    = false
  default     = "glue_catalog"
  validation {
    condition     = can(regex("^[a-z][a-z0-9_]*$", var.catalog))
    error_message = "catalog must be lower-case letters, digits and underscores."
  }
}

variable "python_modules" {
  description = "What the package needs and Glue lacks, as pip requirements with their versions."
  type        = list(string)
  nullable    = false
  validation {
    condition     = alltrue([for module in var.python_modules : can(regex("==", module))])
    error_message = "python_modules must have exact versions (name==1.2.3): a run tomorrow is the run of today."
  }
}

variable "arguments" {
  description = "More arguments of the job, by name with its dashes; one of the same name replaces the module's own."
  type        = map(string)
  nullable    = false
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.arguments) : startswith(name, "--")])
    error_message = "arguments: names begin with `--`."
  }
}

variable "schedule" {
  description = "When the job runs, `cron(…)` in UTC; null leaves it to whoever starts it, and costs nothing."
  type        = string
  default     = null
  validation {
    condition     = var.schedule == null || can(regex("^cron\\(.+\\)$", var.schedule))
    error_message = "schedule must be like cron(5 * * * ? *)."
  }
}

variable "worker_type" {
  description = "Size of a worker: G.1X has 4 vCPUs and 16 GB."
  type        = string
  nullable    = false
  default     = "G.1X"
  validation {
    condition     = contains(["G.1X", "G.2X", "G.4X", "G.8X"], var.worker_type)
    error_message = "worker_type must be G.1X, G.2X, G.4X or G.8X."
  }
}

variable "workers" {
  description = "How many workers a run has, the driver included."
  type        = number
  nullable    = false
  default     = 2
  validation {
    condition     = var.workers >= 2 && var.workers <= 100 && floor(var.workers) == var.workers
    error_message = "workers must be a whole number from 2, Glue's least, to 100."
  }
}

variable "timeout_minutes" {
  description = "A run that takes longer is stopped; without it one could run, and cost, for two days."
  type        = number
  nullable    = false
  default     = 60
  validation {
    condition     = var.timeout_minutes >= 5 && var.timeout_minutes <= 1440 && floor(var.timeout_minutes) == var.timeout_minutes
    error_message = "timeout_minutes must be a whole number from 5 to 1440."
  }
}

variable "alarms_arn" {
  description = "ARN of the topic that hears of runs that failed; its policy must let EventBridge in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[^:]+:sns:", var.alarms_arn))
    error_message = "alarms_arn: the ARN of a topic."
  }
}

variable "failures_arn" {
  description = "ARN of the standard queue that takes what that topic couldn't be given; its policy must let EventBridge in."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[^:]+:sqs:", var.failures_arn)) && !endswith(var.failures_arn, ".fifo")
    error_message = "failures_arn: the ARN of a standard SQS queue."
  }
}

variable "kms_key_arn" {
  description = "The KMS key that the buckets and logs are encrypted with; null where they use AWS's own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[^:]+:kms:", var.kms_key_arn))
    error_message = "kms_key_arn: the ARN of a KMS key, or null."
  }
}
