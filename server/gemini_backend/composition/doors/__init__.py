"""The doors: who may pass them, and what stands before the services."""

from gemini_backend.composition.doors.grpc_doors import doors_of
from gemini_backend.composition.doors.identity import identity_of, web_guard_of
from gemini_backend.composition.doors.mounted_services import grpc_server

__all__ = ["doors_of", "grpc_server", "identity_of", "web_guard_of"]
