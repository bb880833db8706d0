"""The body of an answer, from bytes to the JSON values that it holds."""
