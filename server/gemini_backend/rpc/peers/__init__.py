"""What is known of a peer: its host, its certificate."""

from gemini_backend.rpc.peers.certificate import peer_certificate
from gemini_backend.rpc.peers.hosts import host_of

__all__ = ["host_of", "peer_certificate"]
