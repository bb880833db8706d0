"""Encryption of what is kept secret on disk: a master key wraps data keys, one per purpose."""
