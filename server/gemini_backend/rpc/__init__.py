"""The gRPC side: the chain, its interceptors, the servicers. Nothing else imports grpc."""
