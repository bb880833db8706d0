"""Calls, requests, answers, and what should come of them."""
