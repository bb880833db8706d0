"""What an execution reports: numbered events, timing, usage and cost."""
