"""Hedging: a second attempt beside one that is slow to begin."""
