"""Addresses, certificates and proxies, as settings name them."""
