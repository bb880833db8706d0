"""Processes that work beside the server, so that the event loop never computes for long."""
