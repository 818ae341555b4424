# Names and where things are

variable "prefix" {
  description = "What all names begin with; tells deployments in one account apart, those in other regions too, as names of roles know no region."
  type        = string
  default     = "shopstream"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]*(-[a-z0-9]+)*$", var.prefix)) && length(var.prefix) >= 2 && length(var.prefix) <= 24
    error_message = "prefix: 2 to 24 small letters, digits and single `-`, a letter first, as it also names buckets."
  }
}

variable "region" {
  description = "AWS region; null takes what the environment says (`AWS_REGION`)."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region: like `eu-central-1`."
  }
}

variable "tags" {
  description = "Tags for everything, besides Project, Deployment and ManagedBy."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name, value in var.tags : length(name) <= 128 && length(value) <= 256 && !startswith(lower(name), "aws:")])
    error_message = "tags: names up to 128 characters and not `aws:…`, values up to 256."
  }
}

# What is made of it: the two profiles differ here

variable "clicks" {
  description = "What takes the clicks: `sqs`, which costs nothing while idle, or `kinesis` on demand."
  type        = string
  default     = "sqs"

  validation {
    condition     = contains(["sqs", "kinesis"], var.clicks)
    error_message = "clicks: `sqs` or `kinesis`."
  }
}

variable "builds" {
  description = "What builds silver and gold: `athena`, started by the LakeBuilder function, or `glue`, a Spark job."
  type        = string
  default     = "athena"

  validation {
    condition     = contains(["athena", "glue"], var.builds)
    error_message = "builds: `athena` or `glue`."
  }
}

variable "build_schedule" {
  description = "When silver and gold are built, as `rate(1 hour)` or `cron(0 * * * ? *)` in UTC; Glue takes `cron(…)` only."
  type        = string
  default     = "rate(1 hour)"

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.build_schedule)) && (var.builds == "athena" || startswith(var.build_schedule, "cron("))
    error_message = "build_schedule: `rate(…)` or `cron(…)`; with builds = \"glue\" `cron(…)`."
  }
}

variable "firewall" {
  description = "Put a web application firewall before the collector. It can't be attached to an HTTP API, so the collector then has a REST API."
  type        = bool
  default     = false
}

variable "customer_key" {
  description = "Encrypt with a KMS key of your own, which costs by the month and by the call, rather than with AWS's."
  type        = bool
  default     = false
}

variable "reserved_concurrency" {
  description = "Calls at once that are kept for a function and are also its most, by name (`Ingestor`). New accounts can't reserve any."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.reserved_concurrency) : contains(["Collector", "Ingestor", "OfferGenerator", "OrderProcessor", "CartWatcher", "CartProcessor", "Promotions", "LakeBuilder", "Replay"], name)])
    error_message = "reserved_concurrency: names are Collector, Ingestor, OfferGenerator, OrderProcessor, CartWatcher, CartProcessor, Promotions, LakeBuilder, Replay."
  }

  validation {
    condition     = alltrue([for calls in values(var.reserved_concurrency) : calls >= 1])
    error_message = "reserved_concurrency: at least 1."
  }
}

variable "queue_concurrency" {
  description = "Calls at once that work off a queue, by its name (`clicks`, `orders`), where reserved_concurrency says none for who reads it. What Lambda throttles counts as received: unbounded readers of an account with ten calls make dead letters of a flood."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for name, calls in var.queue_concurrency : contains(["clicks", "orders"], name) && calls >= 2 && calls <= 1000])
    error_message = "queue_concurrency: for `clicks` and `orders`, 2 to 1000."
  }
}

variable "crawler_schedule" {
  description = "When crawlers look for new columns and partitions, as `cron(…)` in UTC; null is only when started by hand, as each run costs."
  type        = string
  default     = null

  validation {
    condition     = var.crawler_schedule == null || can(regex("^cron\\(.+\\)$", var.crawler_schedule))
    error_message = "crawler_schedule: `cron(…)` or null."
  }
}

variable "full_monitoring" {
  description = "All alarms, a composite one and a dashboard; else only the alarms that the free tier covers."
  type        = bool
  default     = false
}

variable "reader_roles" {
  description = "Names of IAM roles that may ask the lake in Athena, such as QuickSight's service role. Attach the reader's policy here rather than by hand: what is attached by hand keeps `terraform destroy` from removing it."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.reader_roles : can(regex("^[A-Za-z0-9+=,.@_-]{1,64}$", name))])
    error_message = "reader_roles: names of roles, without their paths."
  }
}

variable "reader_groups" {
  description = "Names of IAM groups whose members may ask the lake in Athena."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.reader_groups : can(regex("^[A-Za-z0-9+=,.@_-]{1,128}$", name))])
    error_message = "reader_groups: names of groups."
  }
}

variable "dashboards" {
  description = "Make QuickSight's data sets and an analysis of them; needs a QuickSight subscription, and its role the reader's policy first: see docs/aws.md."
  type        = bool
  default     = false

  validation {
    condition     = !var.dashboards || length(var.dashboard_principals) > 0
    error_message = "dashboards: say in dashboard_principals who may see them."
  }
}

variable "dashboard_principals" {
  description = "ARNs of the QuickSight users or groups that may see the dashboards."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.dashboard_principals : can(regex("^arn:[^:]+:quicksight:", arn))])
    error_message = "dashboard_principals: ARNs of QuickSight users or groups."
  }
}

# Functions

variable "lambda_zip" {
  description = "Zip with the functions, built by `shopstream package lambda`."
  type        = string
  default     = "../build/shopstream-lambda.zip"

  validation {
    condition     = endswith(var.lambda_zip, ".zip")
    error_message = "lambda_zip: the path of a .zip file."
  }
}

variable "runtime" {
  description = "Python of the functions; the one that the zip was built for."
  type        = string
  default     = "python3.13"

  validation {
    condition     = contains(["python3.11", "python3.12", "python3.13"], var.runtime)
    error_message = "runtime: `python3.11`, `python3.12` or `python3.13`."
  }
}

variable "architecture" {
  description = "Processor of the functions; the one that the zip was built for."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture: `arm64` or `x86_64`."
  }
}

variable "settings" {
  description = "Settings of shopstream for the functions, by their names in docs/settings.md: `{ order_alert_above = \"500\" }`."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^[a-z][a-z0-9_]*$", name)) && !contains(["engine", "aws_prefix", "aws_account", "aws_clicks", "aws_tracing"], name)])
    error_message = "settings: names as in docs/settings.md; engine and aws_… are set by Terraform."
  }

  validation {
    condition     = alltrue([for name, value in var.settings : can(regex("^[0-9]+[smhd]$", value)) if endswith(name, "_ttl")])
    error_message = "settings: what ends in _ttl is a duration like 90d or 36h."
  }
}

variable "rules_file" {
  description = "File with the offer rules (docs/rules.md), kept in the lake's bucket; null leaves what lies there, at first the rules that come with shopstream."
  type        = string
  default     = null

  validation {
    condition     = var.rules_file == null || can(file(var.rules_file))
    error_message = "rules_file: no such file; a relative path counts from the folder of terraform/."
  }
}

variable "tracing" {
  description = "Trace calls with X-Ray."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "log_retention_days: one of CloudWatch's choices, such as 14, 30, 90, 365."
  }
}

variable "requests_per_s_max" {
  description = "Requests a second above which the collector's address answers 429. AWS holds a whole account to 10,000, in newer regions to 2,500, whatever is said here."
  type        = number
  default     = 500

  validation {
    condition     = var.requests_per_s_max >= 1
    error_message = "requests_per_s_max: at least 1."
  }
}

variable "requests_per_ip_max" {
  description = "Requests of one address within 5 minutes above which the firewall blocks it. A shop's whole office, or a server that sends for its visitors, is one address."
  type        = number
  default     = 20000

  validation {
    condition     = var.requests_per_ip_max >= 10
    error_message = "requests_per_ip_max: at least 10."
  }
}

# The Spark job, with builds = "glue"

variable "glue_script" {
  description = "The job's script."
  type        = string
  default     = "../src/shopstream/lake/glue_job.py"

  validation {
    condition     = endswith(var.glue_script, ".py")
    error_message = "glue_script: the path of a .py file."
  }
}

variable "glue_package" {
  description = "Package of shopstream for the job, built by `make deploy`."
  type        = string
  default     = "../build/shopstream-glue.zip"

  validation {
    condition     = can(regex("\\.(zip|whl)$", var.glue_package))
    error_message = "glue_package: the path of a .zip or .whl file."
  }
}

variable "glue_python_modules" {
  description = "Libraries that the job installs, each with its version."
  type        = list(string)
  default     = ["msgspec==0.22.0", "pyyaml==6.0.3", "sqlglot==30.30.0", "zstandard==0.25.0"]

  validation {
    condition     = alltrue([for module in var.glue_python_modules : can(regex("^[A-Za-z0-9._-]+==[0-9][^ ]*$", module))])
    error_message = "glue_python_modules: each as `name==version`."
  }
}

variable "glue_worker_type" {
  description = "Size of the Spark job's workers: G.1X has 4 vCPUs and 16 GB and costs one DPU, each other twice the one before."
  type        = string
  default     = "G.1X"

  validation {
    condition     = contains(["G.1X", "G.2X", "G.4X", "G.8X"], var.glue_worker_type)
    error_message = "glue_worker_type: `G.1X`, `G.2X`, `G.4X` or `G.8X`."
  }
}

variable "glue_workers" {
  description = "How many workers a run of the Spark job has, the driver included."
  type        = number
  default     = 2

  validation {
    condition     = var.glue_workers >= 2 && var.glue_workers <= 100 && floor(var.glue_workers) == var.glue_workers
    error_message = "glue_workers: from 2, Glue's least, to 100."
  }
}

variable "glue_timeout_minutes" {
  description = "After so many minutes a run of the Spark job is stopped, which is an alarm. The first run and one in full take longest."
  type        = number
  default     = 60

  validation {
    condition     = var.glue_timeout_minutes >= 5 && var.glue_timeout_minutes <= 1440 && floor(var.glue_timeout_minutes) == var.glue_timeout_minutes
    error_message = "glue_timeout_minutes: from 5 to 1440, a day."
  }
}

# Who hears of it

variable "alert_emails" {
  description = "Addresses that get the shop's alerts (large and invalid orders, low stock) by mail. Each has to confirm once."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alert_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "alert_emails: each like `name@example.com`."
  }
}

variable "alert_queues" {
  description = "SQS queues that get the shop's alerts, by a name of your own: the ARN and the kinds of alert (empty is all)."
  type        = map(object({ arn = string, kinds = optional(list(string), []) }))
  default     = {}

  validation {
    condition     = alltrue([for queue in values(var.alert_queues) : can(regex("^arn:[^:]+:sqs:", queue.arn))])
    error_message = "alert_queues: arn is the ARN of an SQS queue."
  }
}

variable "alarm_emails" {
  description = "Addresses that hear when something is wrong with the deployment, or its cost nears budget_usd."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for address in var.alarm_emails : can(regex("^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", address))])
    error_message = "alarm_emails: each like `name@example.com`."
  }
}

variable "budget_usd" {
  description = "Monthly cost in US dollars that alarm_emails are warned of; 0 for no budget."
  type        = number
  default     = 20

  validation {
    condition     = var.budget_usd >= 0
    error_message = "budget_usd: 0 or more."
  }
}

# How long things are kept

variable "lake_buffer_s" {
  description = "Seconds that an event may wait until it is in the lake. Shorter makes more, smaller files."
  type        = number
  default     = 60

  validation {
    condition     = var.lake_buffer_s >= 0 && var.lake_buffer_s <= 900
    error_message = "lake_buffer_s: 0 to 900."
  }
}

variable "bronze_infrequent_after_days" {
  description = "Days after which bronze goes to cheaper storage that costs by the read. S3 moves no object below 128 KB: a small shop's files stay where they are."
  type        = number
  default     = 30

  validation {
    condition     = var.bronze_infrequent_after_days >= 30
    error_message = "bronze_infrequent_after_days: at least 30, S3's limit."
  }
}

variable "bronze_glacier_after_days" {
  description = "Days after which bronze goes to Glacier Instant Retrieval, which Athena still reads."
  type        = number
  default     = 120

  validation {
    condition     = var.bronze_glacier_after_days >= var.bronze_infrequent_after_days + 30
    error_message = "bronze_glacier_after_days: at least 30 more than bronze_infrequent_after_days."
  }
}

variable "results_expire_after_days" {
  description = "Days that results of Athena's queries are kept."
  type        = number
  default     = 7

  validation {
    condition     = var.results_expire_after_days >= 1
    error_message = "results_expire_after_days: at least 1."
  }
}

variable "first_day" {
  description = "The first day that events can have arrived, YYYY-MM-DD: Athena sees no earlier one in bronze. Set it to when an older deployment's bronze begins that you copy here."
  type        = string
  default     = "2026-01-01"

  validation {
    condition     = can(formatdate("YYYY", "${var.first_day}T00:00:00Z"))
    error_message = "first_day: YYYY-MM-DD."
  }
}

variable "scan_gib_max" {
  description = "GiB that one Athena query may scan before it is stopped (5 dollars a TiB)."
  type        = number
  default     = 10

  validation {
    condition     = var.scan_gib_max >= 1
    error_message = "scan_gib_max: at least 1."
  }
}

variable "point_in_time_recovery" {
  description = "Keep 35 days of backups of the tables; costs by what is stored in them."
  type        = bool
  default     = true
}

variable "deletion_protection" {
  description = "Refuse to delete tables, until allow_destroy says otherwise."
  type        = bool
  default     = false
}

variable "allow_destroy" {
  description = "Let `terraform destroy` remove buckets with what is in them, and protected tables. `make destroy` sets it after it has asked."
  type        = bool
  default     = false
}
