"""Layers of the chain without a server."""
