"""Answers that Gemini breaks off with CONTINUATION, and that go on in further requests."""
