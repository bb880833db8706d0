"""KeyService: API keys made, listed, rotated and revoked; and who the caller is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemini.backend.v1 import key_service_pb2 as pb
from gemini_backend.api.admin.key_messages import COLLECTION, message_of, new_key, principal_message
from gemini_backend.api.messages import last_seen, token_after
from gemini_backend.durations import seconds_of
from gemini_backend.errors import InvalidRequest, UnknownResource, Violation
from gemini_backend.identity.api_keys import Cursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.timestamp_pb2 import Timestamp

    from gemini_backend.call import Call
    from gemini_backend.identity.api_keys import ApiKeys

_KEYS_A_PAGE, _MAX_PAGE = 100, 1000
_OVERLAP_SECONDS = 3600.0
# What page tokens hold: when a key was created, and its id.
_PLACE = re.compile(r"(\d{1,12}\.\d{1,12}):([A-Za-z0-9]{1,64})")


class KeyService:
    """Answers from the keys of this server; who may ask is decided before."""

    def __init__(self, keys: ApiKeys, wall: Callable[[], float]) -> None:
        """Administer `keys`; `wall` gives the time of day."""
        self._keys = keys
        self._wall = wall

    async def CreateApiKey(
        self, _call: Call, request: pb.CreateApiKeyRequest
    ) -> pb.CreateApiKeyResponse:
        """Make a key; its secret is in this answer only.

        Raises:
            AlreadyExists: the tenant has a key of that principal that is not revoked.
            InvalidRequest: it would have expired already.
            StoreUnavailable: keys cannot be stored.
        """
        record, secret = await self._keys.create(new_key(request.key, self._expiry(request)))
        return pb.CreateApiKeyResponse(key=message_of(record, self._wall()), secret=secret)

    async def GetApiKey(self, _call: Call, request: pb.GetApiKeyRequest) -> pb.GetApiKeyResponse:
        """Return a key.

        Raises:
            UnknownResource: there is none of that name.
            StoreUnavailable: keys cannot be read.
        """
        record = await self._keys.store.get(request.name.removeprefix(COLLECTION))
        if record is None:
            raise _unknown(request.name)
        return pb.GetApiKeyResponse(key=message_of(record, self._wall()))

    async def ListApiKeys(
        self, _call: Call, request: pb.ListApiKeysRequest
    ) -> pb.ListApiKeysResponse:
        """Return a page of the keys, newest first.

        Raises:
            InvalidRequest: the page token is none of this list's.
            StoreUnavailable: keys cannot be read.
        """
        size, now = min(request.page_size or _KEYS_A_PAGE, _MAX_PAGE), self._wall()
        found = await self._keys.store.page(
            request.tenant,
            _cursor(last_seen(request)),
            size + 1,
            now=now,
            inactive=request.include_inactive,
        )
        page = found[:size]
        token = ""
        if len(found) > size:
            token = token_after(f"{page[-1].created!r}:{page[-1].key}", request)
        return pb.ListApiKeysResponse(
            keys=(message_of(record, now) for record in page), next_page_token=token
        )

    async def RotateApiKey(
        self, _call: Call, request: pb.RotateApiKeyRequest
    ) -> pb.RotateApiKeyResponse:
        """Give a key a new secret, which is in this answer only.

        Raises:
            UnknownResource: there is no key of that name.
            Conflict: it is revoked or has expired.
            StoreUnavailable: keys cannot be stored.
        """
        given = request.HasField("overlap")
        overlap = seconds_of(request.overlap) if given else _OVERLAP_SECONDS
        made = await self._keys.rotate(request.name.removeprefix(COLLECTION), overlap)
        if made is None:
            raise _unknown(request.name)
        record, secret = made
        return pb.RotateApiKeyResponse(key=message_of(record, self._wall()), secret=secret)

    async def RevokeApiKey(
        self, _call: Call, request: pb.RevokeApiKeyRequest
    ) -> pb.RevokeApiKeyResponse:
        """Revoke a key for good; nothing happens to one that is revoked already.

        Raises:
            UnknownResource: there is no key of that name.
            StoreUnavailable: keys cannot be stored.
        """
        record = await self._keys.revoke(request.name.removeprefix(COLLECTION))
        if record is None:
            raise _unknown(request.name)
        return pb.RevokeApiKeyResponse(key=message_of(record, self._wall()))

    async def WhoAmI(self, call: Call, _request: pb.WhoAmIRequest) -> pb.WhoAmIResponse:
        """Return who the caller is."""
        return pb.WhoAmIResponse(principal=principal_message(call.principal))

    def _expiry(self, request: pb.CreateApiKeyRequest) -> float | None:
        """Return when the key is to expire, in seconds since the epoch; None for never.

        Raises:
            InvalidRequest: that time has passed.
        """
        now = self._wall()
        if request.HasField("ttl"):
            return now + seconds_of(request.ttl)
        if not request.key.HasField("expire_time"):
            return None
        expires = _moment(request.key.expire_time)
        if expires <= now:
            msg = "has passed already; set a time in the future, or omit it for a key without end"
            violation = Violation("key.expire_time", msg, "key.expire_time")
            raise InvalidRequest(f"key.expire_time {msg}", violations=[violation])
        return expires


def _moment(time: Timestamp) -> float:
    return time.ToNanoseconds() / 1e9


def _unknown(name: str) -> UnknownResource:
    return UnknownResource(f"there is no API key {name!r}; ListApiKeys lists them")


def _cursor(text: str | None) -> Cursor | None:
    """Return what a page token holds; one that holds anything else was tampered with.

    Raises:
        InvalidRequest: it was.
    """
    if text is None:
        return None
    found = _PLACE.fullmatch(text)
    if found is None:
        msg = "page_token was not issued by this list; leave it empty to start again"
        raise InvalidRequest(msg, violations=[Violation("page_token", msg, "page.token")])
    return Cursor(float(found[1]), found[2])
