"""How a connection to the model API is made: names, addresses, proxies, TLS."""

from gemini_backend.upstream.gemini.connection.dialing.dialer import Dialer
from gemini_backend.upstream.gemini.connection.dialing.origin import Origin, RequestForm

__all__ = ["Dialer", "Origin", "RequestForm"]
