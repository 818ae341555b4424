variable "prefix" {
  description = "What all names start with."
  type        = string
  nullable    = false
}

variable "script_file" {
  description = "The job's script on this machine: `shopstream/lake/glue_job.py` of the package."
  type        = string
  nullable    = false
}

variable "package_file" {
  description = "A zip of the package `shopstream` on this machine."
  type        = string
  nullable    = false
}

variable "artifacts" {
  description = "The bucket that takes the script and the package, under `glue/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false
}

variable "lake" {
  description = "The bucket of the lake: reads `bronze/`, writes `warehouse/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false
}

variable "archive" {
  description = "The bucket that keeps every offer, under `offers/`."
  type        = object({ bucket = string, arn = string })
  nullable    = false
}

variable "database" {
  description = "The Glue database that the tables are registered in."
  type        = string
  nullable    = false
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
    condition     = var.workers >= 2 && var.workers <= 100
    error_message = "workers must be from 2, Glue's least, to 100."
  }
}

variable "timeout_minutes" {
  description = "A run that takes longer is stopped; without it one could run, and cost, for two days."
  type        = number
  nullable    = false
  default     = 60
  validation {
    condition     = var.timeout_minutes >= 5 && var.timeout_minutes <= 1440
    error_message = "timeout_minutes must be from 5 to 1440."
  }
}

variable "kms_key_arn" {
  description = "The KMS key that the buckets and logs are encrypted with; null where they use AWS's own keys."
  type        = string
  default     = null
}
