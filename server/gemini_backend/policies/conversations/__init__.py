"""Conversations: kept as sessions, and made to fit into what a model takes."""
