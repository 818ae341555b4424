# A topic and who hears of it; what can't be delivered to one of them goes to a queue.

resource "aws_sns_topic" "this" {
  name              = var.name
  kms_master_key_id = var.kms_key_arn
}

resource "aws_sns_topic_policy" "this" {
  arn = aws_sns_topic.this.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid       = "OnlyOverTls"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.this.arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }],
      [for sid, publisher in var.publishers : {
        Sid       = sid
        Effect    = "Allow"
        Principal = { Service = publisher.service }
        Action    = "sns:Publish"
        Resource  = aws_sns_topic.this.arn
        Condition = { (publisher.says_account ? "StringEquals" : "StringEqualsIfExists") = { "aws:SourceAccount" = publisher.account } }
      }],
    )
  })
}

locals {
  emails = { for address in var.emails : "mailto:${address}" => {
    protocol = "email", endpoint = address, filter = {}, raw = false
  } }
  queues = { for name, queue in var.queues : name => {
    protocol = "sqs", endpoint = queue.arn, filter = queue.filter, raw = queue.raw
  } }
}

resource "aws_sns_topic_subscription" "this" {
  for_each = merge(local.emails, local.queues)

  topic_arn            = aws_sns_topic.this.arn
  protocol             = each.value.protocol
  endpoint             = each.value.endpoint
  raw_message_delivery = each.value.raw
  filter_policy        = length(each.value.filter) == 0 ? null : jsonencode(each.value.filter)
  filter_policy_scope  = length(each.value.filter) == 0 ? null : "MessageAttributes"
  redrive_policy       = jsonencode({ deadLetterTargetArn = var.failures_arn })
}
