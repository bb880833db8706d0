"""The audit log: administrative acts and refused authentication, chained by HMAC."""
