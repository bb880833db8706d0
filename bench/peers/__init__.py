"""Other gateways, each pinned and in an environment of its own."""
