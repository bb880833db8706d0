"""Processes that work beside the server, so that the event loop never computes for long."""

from __future__ import annotations

from gemini_backend.processing.workers.worker_link import Link
from gemini_backend.processing.workers.worker_process import NotYet, WorkerProcess

__all__ = ["Link", "NotYet", "WorkerProcess"]
