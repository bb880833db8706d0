"""The layer that records administrative acts: before they begin, and how they ended.

An act that changes something has two entries. The first one is on disk before the act begins: if
it cannot be written, the act is refused. The second one is on disk before the answer goes out.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import MethodOptions

from gemini_backend.audit.entry import Act
from gemini_backend.audit.targets import details_of, target_in, target_of
from gemini_backend.errors import ServiceError, StoreUnavailable
from gemini_backend.identity.access import is_administrative
from gemini_backend.policies.wrapper import Around

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from gemini_backend.audit.log import AuditLog
    from gemini_backend.call import Call
    from gemini_backend.policies.wrapper import Whole

T = TypeVar("T")
_OWN_SERVICE = "/gemini.backend.v1.AuditService/"


def is_recorded(method: str) -> bool:
    """Return whether the log has an RPC: an act that changes something, or a look at the log."""
    return is_administrative(method) and (changes(method) or method.startswith(_OWN_SERVICE))


@lru_cache(maxsize=256)
def changes(method: str) -> bool:
    """Return whether an RPC of the contract has side effects; one that there is not has none."""
    try:
        found = descriptor_pool.Default().FindMethodByName(method.strip("/").replace("/", "."))
    except KeyError:
        return False
    level = found.GetOptions().idempotency_level
    return bool(level != MethodOptions.NO_SIDE_EFFECTS)


class AuditActs(Around):
    """Records each call of a kind that is to be recorded."""

    def __init__(self, log: AuditLog) -> None:
        """Write into `log`."""
        self._log = log

    async def run(self, call: Call, request: Any, proceed: Whole, /) -> Any:
        """Do the act between its two entries.

        Raises:
            StoreUnavailable: it cannot be recorded: before the act, which is not done then; or
                after it, which the message says.
        """
        act, changing = _act_of(call, request), changes(call.method)
        if changing:
            await self._unless_cancelled(act, self._log.record(act._replace(code="")))
        try:
            answer = await self._unless_cancelled(act, proceed(call, request))
        except ServiceError as error:
            await self._failed(act._replace(code=error.code.name, reason=error.reason))
            raise
        except Exception:
            await self._failed(act._replace(code="INTERNAL", reason="BACKEND_UNEXPECTED"))
            raise
        try:
            await self._log.record(act._replace(target=act.target or target_in(answer)))
        except ServiceError as error:
            raise _half_recorded(error) if changing else error from None
        return answer

    async def _unless_cancelled(self, act: Act, work: Awaitable[T]) -> T:
        """Return what `work` gives; nobody waits for the entry of an act that was cancelled."""
        try:
            return await work
        except asyncio.CancelledError:
            self._log.note(act._replace(code="CANCELLED", reason="CALLER_CANCELLED"))
            raise

    async def _failed(self, act: Act) -> None:
        """Record a failure; why the act has failed matters more than that this fails as well."""
        try:
            await self._log.record(act)
        except ServiceError:
            return  # the log has noted it: health and metrics have it

    def __repr__(self) -> str:
        """Name the layer."""
        return "AuditActs()"


def _act_of(call: Call, request: Any) -> Act:
    principal = call.principal
    identifier = call.execution.removeprefix("executions/")
    details = {"act": identifier, "method": principal.method.value, **details_of(request)}
    if principal.api_key:
        details["api_key"] = principal.api_key
    return Act(
        call.method,
        target_of(request),
        tenant=principal.tenant,
        principal=principal.name,
        peer=call.peer,
        details=details,
    )


def _half_recorded(error: ServiceError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the act was done, and its end could not be recorded: {error.message}; the audit log has "
        "its beginning"
    )
