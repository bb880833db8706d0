"""Executions whose answers are known beforehand, faults on their way, and a verdict on each."""
