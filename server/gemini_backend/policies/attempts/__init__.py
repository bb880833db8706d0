"""Attempts at the upstream: again, beside, elsewhere, with another key, or not at all."""
