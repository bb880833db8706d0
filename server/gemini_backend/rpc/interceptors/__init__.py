"""grpc.aio interceptors of our own, outermost layers of the chain."""
