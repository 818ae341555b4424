# A web ACL before the collector: AWS's managed rules, and a limit of requests per address.
#
# A collector's bodies are events: they are large, and hold URLs, referrers and whatever people typed
# into a search box. Rules that judge bodies by size or by their looks would answer 403 to a whole batch
# for one search for an exploit, and SDKs don't resend that; so they only count, as do those on queries
# that are long or hold a URL. The collector itself judges every event and keeps what it rejects.

locals {
  groups = {
    # What the internet scans for. Body rules only count: see above.
    AWSManagedRulesCommonRuleSet = {
      priority = 10
      count = [
        "SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY", "GenericRFI_BODY",
        "EC2MetaDataSSRF_BODY", "SizeRestrictions_QUERYSTRING", "GenericRFI_QUERYARGUMENTS", "NoUserAgent_HEADER",
      ]
    }
    # Log4j and other requests that are known to be attacks, by their headers and paths.
    AWSManagedRulesKnownBadInputsRuleSet = {
      priority = 20
      count    = ["JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"]
    }
    # Addresses that Amazon has seen attack others.
    AWSManagedRulesAmazonIpReputationList = { priority = 30, count = [] }
  }
}

resource "aws_wafv2_web_acl" "this" {
  #checkov:skip=CKV_AWS_192:AWSManagedRulesKnownBadInputsRuleSet is among the groups above; dynamic blocks are not seen
  name        = "${var.prefix}-collector"
  description = "Before the collector: managed rules and a limit per address."
  scope       = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "requests-per-address"
    priority = 0

    action {
      block {
        # What SDKs take for back-pressure: they wait and send again.
        custom_response {
          response_code = 429
          response_header {
            name  = "Retry-After"
            value = tostring(var.window_seconds)
          }
        }
      }
    }

    statement {
      rate_based_statement {
        aggregate_key_type    = "IP"
        limit                 = var.requests_per_address_max
        evaluation_window_sec = var.window_seconds
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "${var.prefix}-requests-per-address"
      sampled_requests_enabled   = false
    }
  }

  dynamic "rule" {
    for_each = local.groups
    content {
      name     = rule.key
      priority = rule.value.priority

      override_action {
        none {}
      }

      statement {
        managed_rule_group_statement {
          name        = rule.key
          vendor_name = "AWS"

          dynamic "rule_action_override" {
            for_each = rule.value.count
            content {
              name = rule_action_override.value
              action_to_use {
                count {}
              }
            }
          }
        }
      }

      visibility_config {
        cloudwatch_metrics_enabled = true
        metric_name                = "${var.prefix}-${rule.key}"
        sampled_requests_enabled   = false
      }
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "${var.prefix}-collector"
    # Samples keep headers, and a header holds the write key.
    sampled_requests_enabled = false
  }
}

resource "aws_wafv2_web_acl_association" "this" {
  for_each     = var.resource_arns
  resource_arn = each.value
  web_acl_arn  = aws_wafv2_web_acl.this.arn
}

# WAF takes only log groups whose name starts so.
resource "aws_cloudwatch_log_group" "blocked" {
  name              = "aws-waf-logs-${var.prefix}-collector"
  retention_in_days = var.log_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_wafv2_web_acl_logging_configuration" "blocked" {
  resource_arn            = aws_wafv2_web_acl.this.arn
  log_destination_configs = [aws_cloudwatch_log_group.blocked.arn]

  # What was let through is counted, not logged: at a collector's rates that would cost more than WAF.
  logging_filter {
    default_behavior = "DROP"
    filter {
      behavior    = "KEEP"
      requirement = "MEETS_ANY"
      condition {
        action_condition {
          action = "BLOCK"
        }
      }
      condition {
        action_condition {
          action = "COUNT"
        }
      }
    }
  }

  # Write keys are secrets.
  redacted_fields {
    single_header {
      name = "authorization"
    }
  }
  redacted_fields {
    single_header {
      name = "x-write-key"
    }
  }
  redacted_fields {
    query_string {}
  }
}
