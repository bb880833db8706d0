"""Log lines: one per call, one per change of state, written in batches."""
