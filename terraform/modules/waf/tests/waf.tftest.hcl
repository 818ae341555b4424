mock_provider "aws" {
  mock_resource "aws_wafv2_web_acl" {
    defaults = { arn = "arn:aws:wafv2:eu-central-1:123456789012:regional/webacl/shop-collector/11111111-2222-3333-4444-555555555555" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:aws-waf-logs-shop-collector" }
  }
}

variables {
  prefix        = "shop"
  resource_arns = { collector = "arn:aws:apigateway:eu-central-1::/restapis/abc/stages/live" }
}

# One run: planning a web ACL, whose schema is huge, takes longer than everything else.
run "it_blocks_attacks_and_the_too_fast_and_keeps_honest_events" {
  command = plan

  assert {
    condition     = aws_wafv2_web_acl_association.this["collector"].resource_arn == var.resource_arns["collector"]
    error_message = "The web ACL protects nothing."
  }
  assert {
    condition = one([
      for rule in aws_wafv2_web_acl.this.rule : rule.action[0].block[0].custom_response[0].response_code
      if rule.name == "requests-per-address"
    ]) == 429
    error_message = "An SDK takes 403 for good and drops the events."
  }
  assert {
    condition = toset([
      for counted in one([
        for rule in aws_wafv2_web_acl.this.rule : rule.statement[0].managed_rule_group_statement[0].rule_action_override
        if rule.name == "AWSManagedRulesCommonRuleSet"
      ]) : counted.name if length(counted.action_to_use[0].count) == 1
    ]) == toset(["SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY", "GenericRFI_BODY", "EC2MetaDataSSRF_BODY", "SizeRestrictions_QUERYSTRING", "GenericRFI_QUERYARGUMENTS", "NoUserAgent_HEADER"])
    error_message = "Large batches, or events with a URL in them, would be dropped."
  }
  assert {
    condition = toset([
      for counted in one([
        for rule in aws_wafv2_web_acl.this.rule : rule.statement[0].managed_rule_group_statement[0].rule_action_override
        if rule.name == "AWSManagedRulesKnownBadInputsRuleSet"
      ]) : counted.name if length(counted.action_to_use[0].count) == 1
    ]) == toset(["JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"])
    error_message = "A batch would be refused for what one visitor searched for."
  }
  assert {
    condition = length([
      for rule in aws_wafv2_web_acl.this.rule : rule.name
      if startswith(rule.name, "AWS") && try(length(rule.override_action[0].none), 0) == 1
    ]) == 3
    error_message = "A group only counts, or is not there."
  }
  assert {
    condition     = toset(flatten([for field in aws_wafv2_web_acl_logging_configuration.blocked.redacted_fields : field.single_header[*].name])) == toset(["authorization", "x-write-key"])
    error_message = "A log would hold secrets."
  }
  assert {
    condition     = !aws_wafv2_web_acl.this.visibility_config[0].sampled_requests_enabled
    error_message = "Sampled requests hold secrets."
  }
}

run "a_window_that_waf_does_not_know_is_refused" {
  command = plan
  variables {
    window_seconds = 5
  }
  expect_failures = [var.window_seconds]
}
