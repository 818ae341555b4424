output "arn" {
  description = "ARN of the key."
  value       = aws_kms_key.this.arn

  # Whoever encrypts with it needs its policy in place.
  depends_on = [aws_kms_alias.this]
}
