"""One servicer a service: unpack, call, pack."""
