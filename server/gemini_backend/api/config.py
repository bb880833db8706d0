"""ConfigService: the revision in force, its changes, its history."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend.api.messages.config import message_of, patch_of, values_of
from gemini_backend.api.messages.pagination import page_of
from gemini_backend.api.requests.until_draining import until_draining
from gemini_backend.config import (
    Change,
    ConfigError,
    NotKept,
    RestartNeeded,
    StaleEtag,
    UnknownRevision,
)
from gemini_backend.config.revisions import overrides_of
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import (
    Conflict,
    InvalidRequest,
    NeedsRestart,
    ServiceError,
    StoreUnavailable,
    UnknownResource,
    Violation,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gemini_backend.call import Call
    from gemini_backend.config import ConfigStore, Revision
    from gemini_backend.telemetry.health.lifecycle import Lifecycle

_DEFAULT_PAGE, _MAX_PAGE = 20, 100
# Newest first in ascending order of a key: numbers count down from here.
_TOP = 10**12


class ConfigService:
    """Answers from the store."""

    def __init__(self, store: ConfigStore, lifecycle: Lifecycle) -> None:
        """Read and change `store`; `lifecycle` says when watchers have to end."""
        self._store = store
        self._lifecycle = lifecycle

    async def GetConfig(self, _call: Call, _request: pb.GetConfigRequest) -> pb.GetConfigResponse:
        """Return the configuration in force."""
        revision = self._store.revision
        return pb.GetConfigResponse(
            config=message_of(revision.given),
            etag=revision.etag,
            revision=revision.number,
            values=values_of(revision.given),
            update_time=timestamp_of(revision.time),
            author=revision.change.author,
        )

    async def UpdateConfig(
        self, call: Call, request: pb.UpdateConfigRequest
    ) -> pb.UpdateConfigResponse:
        """Change what the mask names, all or none.

        Raises:
            InvalidRequest: a path or a value is wrong, or of a secret.
            NeedsRestart: a setting is not live.
            Conflict: another revision is in force.
            StoreUnavailable: the revision cannot be written to disk.
        """
        before, etag = self._store.revision, request.etag
        patch = patch_of(request.config, request.update_mask.paths, request.reset_paths)
        try:
            if request.validate_only:
                revision = self._store.checked(patch, etag=etag)
            else:
                change = _change(call, request.comment)
                revision = await self._store.update(patch, etag=etag, change=change)
        except ConfigError as error:
            raise _refusal(error) from error
        return pb.UpdateConfigResponse(
            config=message_of(revision.given),
            etag=revision.etag,
            revision=revision.number,
            changed_paths=() if revision is before else revision.changed,
        )

    async def WatchConfig(
        self, _call: Call, _request: pb.WatchConfigRequest
    ) -> AsyncIterator[pb.WatchConfigResponse]:
        """Yield the revision in force, then each new one, until caller or server ends it."""
        first = True
        revisions = self._store.subscribe()
        async for revision in until_draining(self._lifecycle.draining, revisions):
            yield pb.WatchConfigResponse(
                config=message_of(revision.given),
                etag=revision.etag,
                revision=revision.number,
                changed_paths=() if first else revision.changed,
                update_time=timestamp_of(revision.time),
            )
            first = False

    async def ListConfigRevisions(
        self, _call: Call, request: pb.ListConfigRevisionsRequest
    ) -> pb.ListConfigRevisionsResponse:
        """Return a page of revisions, latest first."""
        page = page_of(
            self._store.revisions(),
            _newest_first,
            request,
            default_size=_DEFAULT_PAGE,
            max_size=_MAX_PAGE,
        )
        answer = pb.ListConfigRevisionsResponse(next_page_token=page.next_token)
        for revision in page.items:
            answer.revisions.append(_revision(revision))
            await asyncio.sleep(0)  # each is a whole configuration: others have their turn
        return answer

    async def RollbackConfig(
        self, call: Call, request: pb.RollbackConfigRequest
    ) -> pb.RollbackConfigResponse:
        """Put the live settings of a former revision back in force.

        Raises:
            UnknownResource: it is not in the history.
            Conflict: another revision than the etag's is in force.
            InvalidRequest: its values are not valid any more.
            StoreUnavailable: the revision cannot be written to disk.
        """
        before = self._store.revision
        try:
            revision, stay = await self._store.rollback(
                request.revision, etag=request.etag, change=_change(call, request.comment)
            )
        except ConfigError as error:
            raise _refusal(error) from error
        return pb.RollbackConfigResponse(
            config=message_of(revision.given),
            etag=revision.etag,
            revision=revision.number,
            changed_paths=() if revision is before else revision.changed,
            restart_paths=stay,
        )


def _revision(revision: Revision) -> pb.ConfigRevision:
    return pb.ConfigRevision(
        revision=revision.number,
        etag=revision.etag,
        create_time=timestamp_of(revision.time),
        changed_paths=revision.changed,
        comment=revision.change.comment,
        rollback_of=revision.rollback_of,
        config=message_of(revision.given),
        author=revision.change.author,
        override_paths=sorted(overrides_of(revision.given)),
    )


def _change(call: Call, comment: str) -> Change:
    who = call.principal
    return Change(f"{who.tenant}/{who.name}", comment)


def _newest_first(revision: Revision) -> str:
    return str(_TOP - revision.number)


def _refusal(error: ConfigError) -> ServiceError:
    """Return a refusal of the store's as the contract has it."""
    if isinstance(error, StaleEtag):
        return Conflict(str(error))
    if isinstance(error, UnknownRevision):
        return UnknownResource(str(error))
    if isinstance(error, NotKept):
        return StoreUnavailable(str(error))
    violations = [Violation(f"config.{one.path}", one.message) for one in error.problems]
    if isinstance(error, RestartNeeded):
        return NeedsRestart(str(error), violations=violations)
    return InvalidRequest(str(error), violations=violations)
