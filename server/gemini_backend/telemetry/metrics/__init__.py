"""Counts, sums and percentiles, and how they are exported."""
