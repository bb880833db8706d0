"""The port itself: its TLS, and what is seen of its connections."""

from gemini_backend.rpc.listening.connections import Connections
from gemini_backend.rpc.listening.core_connections import CoreConnections
from gemini_backend.rpc.listening.credentials import credentials_of

__all__ = ["Connections", "CoreConnections", "credentials_of"]
