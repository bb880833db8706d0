"""Who calls: credentials become principals, and principals have roles."""
