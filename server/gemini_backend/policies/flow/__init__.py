"""How much goes out at once: slots, quotas, limits."""
