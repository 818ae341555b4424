"""The aws engine: the same ports as `shopstream.local`, on Kinesis, SQS, DynamoDB, S3 and SNS."""
