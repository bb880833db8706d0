"""What it costs to know who calls, and whether the time that takes tells anything of a key."""
