"""Identities for tests."""
