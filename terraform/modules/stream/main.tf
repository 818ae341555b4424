# The log of clicks: Kinesis, which costs while idle and reads at any rate, or a FIFO queue, which
# doesn't and is enough for a shop. Both keep the order of a partition key.

resource "aws_kinesis_stream" "this" {
  count = var.kind == "kinesis" ? 1 : 0

  name             = "${var.prefix}-BrowsingClickstream"
  retention_period = var.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = coalesce(var.kms_key_arn, "alias/aws/kinesis")

  stream_mode_details {
    stream_mode = "ON_DEMAND"
  }
}

module "queue" {
  source = "../queue"
  count  = var.kind == "sqs" ? 1 : 0

  name               = "${var.prefix}-clicks"
  consumer_timeout_s = var.consumer_timeout_s
  kms_key_arn        = var.kms_key_arn
}
