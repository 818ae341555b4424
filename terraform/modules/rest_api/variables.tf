variable "name" {
  description = "Name of the API."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9._-]{1,128}$", var.name))
    error_message = "name: 1 to 128 letters, digits, `.`, `-` and `_`."
  }
}

variable "description" {
  description = "What the API is for."
  type        = string

  validation {
    condition     = length(var.description) > 0 && length(var.description) <= 1024
    error_message = "description: 1 to 1024 characters."
  }
}

variable "function_name" {
  description = "Name of the function that answers."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,64}$", var.function_name))
    error_message = "function_name: 1 to 64 letters, digits, `-` and `_`."
  }
}

variable "function_invoke_arn" {
  description = "ARN by which API Gateway calls it."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:apigateway:", var.function_invoke_arn))
    error_message = "function_invoke_arn: the invoke_arn of a Lambda function."
  }
}

variable "requests_per_s_max" {
  description = "Requests a second above which API Gateway answers 429."
  type        = number
  default     = 500

  validation {
    condition     = var.requests_per_s_max >= 1
    error_message = "requests_per_s_max: at least 1."
  }
}

variable "requests_burst_max" {
  description = "Requests at once above which API Gateway answers 429."
  type        = number
  default     = 1000

  validation {
    condition     = var.requests_burst_max >= 1
    error_message = "requests_burst_max: at least 1."
  }
}

variable "tracing" {
  description = "Trace requests with X-Ray."
  type        = bool
  default     = true
}
