# A Lambda function with its role, its log, what it reads from, and where its failures go. Its role may
# do what the root says in `statements`, and what its own sources, log and traces need.

data "aws_caller_identity" "current" {}

locals {
  sources = concat(
    flatten([for queue in values(var.queues) : [{
      sid       = "ReadQueues"
      actions   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
      resources = [queue.arn]
    }]]),
    flatten([for stream in values(var.kinesis_streams) : [{
      sid       = "ReadKinesis"
      actions   = ["kinesis:DescribeStream", "kinesis:DescribeStreamSummary", "kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"]
      resources = [stream.arn]
    }]]),
    flatten([for stream in values(var.table_streams) : [{
      sid       = "ReadTableStreams"
      actions   = ["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator"]
      resources = [stream.arn]
    }]]),
    length(var.table_streams) == 0 ? [] : [{
      sid       = "FindTableStreams" # IAM checks it against no resource; it tells names only
      actions   = ["dynamodb:ListStreams"]
      resources = ["*"]
    }],
  )

  # Without ListBucket S3 calls what isn't there forbidden; AWS's guide names both.
  given_up = length(local.stream_settings) == 0 ? [] : [
    {
      sid       = "KeepWhatWasGivenUp"
      actions   = ["s3:PutObject"]
      resources = ["${var.given_up_arn}/aws/lambda/*"]
    },
    {
      sid       = "FindWhatWasGivenUp"
      actions   = ["s3:ListBucket"]
      resources = [var.given_up_arn]
    },
  ]

  own = concat(
    [{
      sid       = "WriteLogs"
      actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
      resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
    }],
    var.tracing ? [{
      sid       = "WriteTraces" # X-Ray knows no resources
      actions   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      resources = ["*"]
    }] : [],
    [{
      sid       = "ReportFailures"
      actions   = ["sqs:SendMessage"]
      resources = [var.failures_arn]
    }],
    var.kms_key_arn == null ? [] : [{
      sid       = "UseKey"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [var.kms_key_arn]
    }],
  )

  # Of a table's stream Lambda keeps the order of an item only, its sort key included, once several
  # batches of a shard are under way. Users have an item for each chunk of their history: what is
  # decided of them stays in order only with one batch at a time. Kinesis keeps a partition key's.
  stream_settings = merge(
    var.kinesis_streams,
    { for name, stream in var.table_streams : name => merge(stream, { parallelization = 1 }) },
  )
}

resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:how long is log_retention_days; logs name users, whom a year would be too long for

  name              = "/aws/lambda/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

resource "aws_iam_role" "this" {
  name        = var.name
  description = "Lambda function ${var.name}."

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "work"
  role = aws_iam_role.this.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [for statement in concat(var.statements, local.sources, local.given_up, local.own) : merge(
      {
        Sid      = statement.sid
        Effect   = "Allow"
        Action   = statement.actions
        Resource = statement.resources
      },
      length(try(statement.conditions, {})) == 0 ? {} : { Condition = statement.conditions },
    )]
  })
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_116:aws_lambda_function_event_invoke_config and the event source mappings send what failed to a queue
  #checkov:skip=CKV_AWS_117:it calls only services of AWS, over TLS; in a network it would need a NAT or endpoints, which cost by the hour
  #checkov:skip=CKV_AWS_272:who may change the code is said by IAM; a signing profile is the account's to have

  function_name                  = var.name
  description                    = var.description
  role                           = aws_iam_role.this.arn
  s3_bucket                      = var.package.bucket
  s3_key                         = var.package.key
  source_code_hash               = var.package.sha256
  handler                        = var.handler
  runtime                        = var.runtime
  architectures                  = [var.architecture]
  memory_size                    = var.memory_mib
  timeout                        = var.timeout_s
  reserved_concurrent_executions = var.reserved_concurrency
  kms_key_arn                    = var.kms_key_arn

  environment {
    variables = var.environment
  }

  ephemeral_storage {
    size = var.storage_mib
  }

  tracing_config {
    mode = var.tracing ? "Active" : "PassThrough"
  }

  # The log group comes first, or Lambda makes one that is kept for ever.
  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

# What is called without waiting for the answer (by rules, by S3's events) and fails is kept.
resource "aws_lambda_function_event_invoke_config" "this" {
  function_name                = aws_lambda_function.this.function_name
  maximum_retry_attempts       = var.async_retries_max
  maximum_event_age_in_seconds = var.async_event_age_max_s

  destination_config {
    on_failure {
      destination = var.failures_arn
    }
  }
}

resource "aws_lambda_event_source_mapping" "queue" {
  for_each = var.queues

  event_source_arn        = each.value.arn
  function_name           = aws_lambda_function.this.arn
  batch_size              = each.value.batch_size
  function_response_types = ["ReportBatchItemFailures"]

  # Here rather than by reserved concurrency: what reserved concurrency throttles counts as received,
  # and a message that was received often enough is a dead letter.
  dynamic "scaling_config" {
    for_each = each.value.concurrency_max == null ? [] : [each.value.concurrency_max]

    content {
      maximum_concurrency = scaling_config.value
    }
  }

  depends_on = [aws_iam_role_policy.this]
}

# One record that can't be processed must not stop its shard until it expires: the batch is halved
# until the record is alone, tried a bounded number of times, and then kept in a bucket. A queue would be
# told only where in the stream it is, which forgets it after a day.
resource "aws_lambda_event_source_mapping" "stream" {
  for_each = local.stream_settings

  event_source_arn                   = each.value.arn
  function_name                      = aws_lambda_function.this.arn
  starting_position                  = "TRIM_HORIZON" # LATEST would lose what comes while it is being made
  batch_size                         = each.value.batch_size
  maximum_batching_window_in_seconds = each.value.window_s
  parallelization_factor             = each.value.parallelization
  bisect_batch_on_function_error     = true
  maximum_retry_attempts             = each.value.retries_max
  maximum_record_age_in_seconds      = each.value.record_age_max_s
  function_response_types            = ["ReportBatchItemFailures"]

  destination_config {
    on_failure {
      destination_arn = var.given_up_arn
    }
  }

  dynamic "filter_criteria" {
    for_each = each.value.patterns == null ? [] : [each.value.patterns]

    content {
      dynamic "filter" {
        for_each = filter_criteria.value

        content {
          pattern = filter.value
        }
      }
    }
  }

  depends_on = [aws_iam_role_policy.this]
}
