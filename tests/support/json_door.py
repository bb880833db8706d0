"""A door without gRPC: `Process` as JSON in and JSON out, through the product's own chain.

It is no part of the product. It shows that services, chain, statuses and errors need no transport.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.api.requests.status import status_of
from gemini_backend.api.requests.unexpected import service_error_of
from gemini_backend.api.requests.work import work_of
from gemini_backend.call import Call, FixedBudget
from gemini_backend.errors import MalformedMessage
from tests.support.messages.calls import PROCESS

if TYPE_CHECKING:
    from gemini_backend.api.requests.reception import Reception
    from gemini_backend.clock import Clock
    from gemini_backend.composition.assembly import Assembly


class JsonDoor:
    """Answers `Process`; what goes wrong comes as a `google.rpc.Status` in JSON."""

    def __init__(self, assembly: Assembly, reception: Reception, clock: Clock) -> None:
        """Let requests through the chain of `assembly`, counted and logged by `reception`."""
        self._reception = reception
        self._clock = clock
        self._calls = 0
        pipeline = assembly.chain.pipeline(work_of(PROCESS))
        self._run = pipeline.unary(assembly.services["ExecuteService"].Process)

    async def process(self, text: str, seconds: float | None = None) -> dict[str, Any]:
        """Return the answer to a request in JSON, within so many seconds where any are given."""
        call = self._call(text, seconds)
        code, reason = "OK", ""
        request: Any = None
        try:
            try:
                request = _request_of(text)
            finally:
                self._reception.arrived(call)
                self._reception.begin(call, request)
            response = await self._run(call, request)
            return _as_json(response)
        except asyncio.CancelledError:
            code, reason = "CANCELLED", "CALLER_CANCELLED"
            raise
        except Exception as error:  # noqa: BLE001 - a door answers whatever happens
            known = call.outcome.error = service_error_of(call, error)
            code, reason = known.code.name, known.reason
            return _as_json(status_of(known))
        finally:
            self._reception.end(call, code, reason)

    def _call(self, text: str, seconds: float | None) -> Call:
        self._calls += 1
        now = self._clock.now()
        known = json.loads(text) if text.startswith("{") else {}
        return Call(
            method=PROCESS,
            execution=f"executions/json-{self._calls}",
            arrived=now,
            work=work_of(PROCESS),
            budget=FixedBudget(None if seconds is None else now + seconds),
            request_id=known.get("requestId", ""),
            peer="json",
        )


def _request_of(text: str) -> pb.ExecuteRequest:
    try:
        return json_format.Parse(text, pb.ExecuteRequest())
    except json_format.ParseError as error:
        raise MalformedMessage(f"the text is not a valid request: {error}") from None


def _as_json(message: Any) -> dict[str, Any]:
    made: dict[str, Any] = json_format.MessageToDict(message)
    return made
