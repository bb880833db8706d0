"""What is known of a peer: its certificate."""

from gemini_backend.rpc.peers.certificate import peer_certificate

__all__ = ["peer_certificate"]
