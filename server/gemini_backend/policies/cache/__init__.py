"""Answers that are kept: what makes two requests the same, and an answer given again."""
