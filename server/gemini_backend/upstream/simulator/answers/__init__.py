"""The simulator's answers: text, thoughts, calls, usage."""
