"""Gemini as an upstream: streams, whole answers, counts of tokens, models."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gemini_backend.call import AttemptRecord
from gemini_backend.errors import MalformedAnswer, ServiceError, StreamCut, UpstreamReply
from gemini_backend.upstream.gemini import addresses, listing, requests, whole
from gemini_backend.upstream.gemini.answers import AnswerStream
from gemini_backend.upstream.gemini.failures import Failures
from gemini_backend.upstream.gemini.keys import KeyRing
from gemini_backend.upstream.gemini.masking import Mask
from gemini_backend.upstream.gemini.payloads import ArrayPayloads, EventPayloads
from gemini_backend.upstream.gemini.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from gemini.backend.v1 import execute_service_pb2 as pb
    from yarl import URL

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.upstream.base import UpstreamModel
    from gemini_backend.upstream.gemini.options import GeminiOptions
    from gemini_backend.upstream.gemini.transport import Exchange

_OK = 200
_ERROR_LIMIT = 1024 * 1024
