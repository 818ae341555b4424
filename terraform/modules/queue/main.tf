# A queue and its dead-letter queue. Nobody gets in but over TLS; AWS services only as named.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}
data "aws_region" "current" {}

locals {
  ending = var.fifo ? ".fifo" : ""

  # Names are known before the queues are: their policies can be made with them, not after them.
  arn_stem = "arn:${data.aws_partition.current.partition}:sqs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  arn      = "${local.arn_stem}:${var.name}${local.ending}"
  dead_arn = "${local.arn_stem}:${var.name}-dlq${local.ending}"

  # At least six times the function's time-out: a message must not come back while a function that was
  # throttled or tries again is still busy with it. Derived, so that nobody changes one without the other.
  visibility_timeout_s = max(30, 6 * var.consumer_timeout_s + var.consumer_window_s)

  only_over_tls = { for arn in [local.arn, local.dead_arn] : arn => {
    Sid       = "OnlyOverTls"
    Effect    = "Deny"
    Principal = "*"
    Action    = "sqs:*"
    Resource  = arn
    Condition = { Bool = { "aws:SecureTransport" = "false" } }
  } }
}

resource "aws_sqs_queue" "this" {
  name                       = "${var.name}${local.ending}"
  fifo_queue                 = var.fifo
  deduplication_scope        = var.fifo ? "messageGroup" : null # with the next: high throughput
  fifo_throughput_limit      = var.fifo ? "perMessageGroupId" : null
  visibility_timeout_seconds = local.visibility_timeout_s
  message_retention_seconds  = var.retention_days * 86400
  receive_wait_time_seconds  = 20
  max_message_size           = var.message_bytes_max

  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600

  redrive_policy = var.dead_letters ? jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead[0].arn
    maxReceiveCount     = var.receive_count_max
  }) : null

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [local.only_over_tls[local.arn]],
      [for sid, sender in var.senders : {
        Sid       = sid
        Effect    = "Allow"
        Principal = { Service = sender.service }
        Action    = "sqs:SendMessage"
        Resource  = local.arn
        Condition = { ArnLike = { "aws:SourceArn" = sender.source_arn } }
      }],
    )
  })
}

resource "aws_sqs_queue" "dead" {
  count = var.dead_letters ? 1 : 0

  name                       = "${var.name}-dlq${local.ending}"
  fifo_queue                 = var.fifo
  deduplication_scope        = var.fifo ? "messageGroup" : null
  fifo_throughput_limit      = var.fifo ? "perMessageGroupId" : null
  visibility_timeout_seconds = local.visibility_timeout_s
  message_retention_seconds  = 14 * 86400
  receive_wait_time_seconds  = 20
  max_message_size           = var.message_bytes_max

  sqs_managed_sse_enabled           = var.kms_key_arn == null ? true : null
  kms_master_key_id                 = var.kms_key_arn
  kms_data_key_reuse_period_seconds = var.kms_key_arn == null ? null : 3600

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.arn]
  })

  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [local.only_over_tls[local.dead_arn]]
  })
}
