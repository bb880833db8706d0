"""Counts the instructions that the server executes for a call or an event."""
