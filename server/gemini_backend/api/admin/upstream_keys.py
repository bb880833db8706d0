"""UpstreamKeyService: keys of the model API, added and removed while the server runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini.backend.v1 import upstream_key_service_pb2 as pb
from gemini_backend.config import Secret
from gemini_backend.durations import timestamp_of
from gemini_backend.errors import Conflict, UnknownResource
from gemini_backend.upstream.keys import KeySource

if TYPE_CHECKING:
    from collections.abc import Callable

    from gemini_backend.call import Call
    from gemini_backend.keyring import LazyKeyring
    from gemini_backend.upstream.keys import KeySources, KnownKey

_PREFIX = "upstreamKeys/"
_SOURCES = {
    KeySource.CONFIGURATION: pb.UPSTREAM_KEY_SOURCE_CONFIGURATION,
    KeySource.FILE: pb.UPSTREAM_KEY_SOURCE_FILE,
    KeySource.COMMAND: pb.UPSTREAM_KEY_SOURCE_COMMAND,
    KeySource.STORE: pb.UPSTREAM_KEY_SOURCE_STORE,
}
_WHERE = {
    KeySource.CONFIGURATION: "GEMINI_API_KEY or upstream.gemini.api_keys",
    KeySource.FILE: "upstream.gemini.api_keys_file",
    KeySource.COMMAND: "what upstream.gemini.api_keys_command prints",
    KeySource.STORE: "the store",
}


class UpstreamKeyService:
    """Changes the encrypted store, and lists what is in use; no message has a key's text but one.

    That one is the request of CreateUpstreamKey.
    """

    def __init__(
        self, sources: KeySources, keyring: LazyKeyring, wall: Callable[[], float]
    ) -> None:
        """Know the sources.

        Args:
            sources: The keys of all sources, and the store.
            keyring: Its master keys are read again by a rotation.
            wall: Time of day, seconds since the epoch.
        """
        self._sources = sources
        self._keyring = keyring
        self._wall = wall

    async def CreateUpstreamKey(
        self, _call: Call, request: pb.CreateUpstreamKeyRequest
    ) -> pb.CreateUpstreamKeyResponse:
        """Store a key, encrypted, and use it from now on.

        Raises:
            AlreadyExists: it is stored already.
            InvalidRequest: there are 1,000 stored keys.
            StoreUnavailable: store or keyring cannot be read or written.
        """
        text, store, now = Secret(request.key), self._sources.store, self._wall()
        made = await self._sources.with_store(
            lambda: store.add(text, request.project, request.display_name, now)
        )
        return pb.CreateUpstreamKeyResponse(upstream_key=_message(made))

    async def ListUpstreamKeys(
        self, _call: Call, _request: pb.ListUpstreamKeysRequest
    ) -> pb.ListUpstreamKeysResponse:
        """Return the keys in use, of every source.

        Raises:
            StoreUnavailable: store or keyring cannot be read.
        """
        await self._sources.with_store(self._sources.store.read)
        return pb.ListUpstreamKeysResponse(upstream_keys=map(_message, self._sources.keys.known))

    async def DeleteUpstreamKey(
        self, _call: Call, request: pb.DeleteUpstreamKeyRequest
    ) -> pb.DeleteUpstreamKeyResponse:
        """Remove a stored key; it is not used by attempts that begin from now on.

        Raises:
            Conflict: the key is not stored, but in use from another source.
            UnknownResource: there is none of that id.
            StoreUnavailable: store or keyring cannot be read or written.
        """
        key_id = request.name.removeprefix(_PREFIX)
        store = self._sources.store
        try:
            await self._sources.with_store(lambda: store.remove(key_id))
        except UnknownResource:
            for known in self._sources.keys.known:
                if known.key.key_id == key_id:
                    msg = f"the key {key_id} is not stored; remove it from {_WHERE[known.source]}"
                    raise Conflict(msg) from None
            raise
        return pb.DeleteUpstreamKeyResponse()

    async def RotateUpstreamKeyEncryption(
        self, _call: Call, _request: pb.RotateUpstreamKeyEncryptionRequest
    ) -> pb.RotateUpstreamKeyEncryptionResponse:
        """Read master keys, file and command again, and encrypt the stored keys with a new key.

        Raises:
            StoreUnavailable: store or keyring cannot be read or written.
        """
        count = await self._sources.with_store(self._rotate)
        await self._sources.refresh()
        return pb.RotateUpstreamKeyEncryptionResponse(reencrypted_count=count)

    def _rotate(self) -> int:
        self._keyring.reopen()
        return self._sources.store.rotate()


def _message(known: KnownKey) -> pb.UpstreamKey:
    return pb.UpstreamKey(
        name=f"{_PREFIX}{known.key.key_id}",
        project=known.key.project,
        source=_SOURCES[known.source],
        create_time=None if known.created is None else timestamp_of(known.created),
        display_name=known.display_name,
    )
