"""What outlives a call, behind small protocols; one back end a file."""
