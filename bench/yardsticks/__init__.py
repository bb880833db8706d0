"""The servers that ours is compared with. Each runs by itself, so nothing is imported here."""
