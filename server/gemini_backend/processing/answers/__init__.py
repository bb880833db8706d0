"""The pieces of an answer put together: deltas joined, whole candidates, how it ended."""
