"""What is done round a call: one policy a file, none of which knows gRPC or a provider."""
