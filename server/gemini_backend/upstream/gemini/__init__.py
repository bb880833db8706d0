"""Gemini over REST and server-sent events.

Seen from outside: `provider`, by `upstream/factory.py` alone. Inside, from the wire inwards:
`connection` (sockets to bytes), `body` (bytes to JSON), `failure` (JSON to typed errors), `answer`
(JSON to messages of the contract), `requests` (the other way); `translation` is beneath them all.
"""
