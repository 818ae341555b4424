variable "prefix" {
  description = "What all names start with."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,23}$", var.prefix))
    error_message = "prefix: 2 to 24 small letters, digits and `-`, a letter first."
  }
}

variable "limit_usd" {
  description = "What a month may cost, in US dollars."
  type        = number
  nullable    = false
  validation {
    condition     = var.limit_usd > 0
    error_message = "limit_usd must be above 0."
  }
}

variable "emails" {
  description = "Who is told, at most ten addresses."
  type        = list(string)
  nullable    = false
  validation {
    condition     = length(var.emails) > 0 && length(var.emails) <= 10
    error_message = "emails must name one to ten addresses: AWS takes no more in a notification."
  }
  validation {
    condition     = alltrue([for email in var.emails : can(regex("^[^@\\s]+@[^@\\s]+$", email))])
    error_message = "emails must be e-mail addresses."
  }
}

variable "percents_spent" {
  description = "At which percentages of the limit, once spent, to write; one more e-mail goes out when the month is forecast to pass the limit."
  type        = set(number)
  nullable    = false
  default     = [50, 80, 100]
  validation {
    condition     = length(var.percents_spent) <= 4 && alltrue([for percent in var.percents_spent : percent > 0])
    error_message = "percents_spent must be at most four percentages above 0: AWS takes five notifications."
  }
}

variable "cost_tag" {
  description = "Count only what has this tag, which must be activated as a cost allocation tag; null counts the whole account."
  type        = object({ key = string, value = string })
  default     = null

  validation {
    condition     = var.cost_tag == null || length(try(var.cost_tag.key, "")) > 0
    error_message = "cost_tag: the key is not empty; or null."
  }
}
