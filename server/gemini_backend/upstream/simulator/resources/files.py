"""Files: what was uploaded, by name. Their bytes are not kept, only size and digest."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import ApiError, denied_file, invalid
from gemini_backend.upstream.simulator.exchange import SimulatedExchange, json_response
from gemini_backend.upstream.simulator.resources.paging import page
from gemini_backend.upstream.simulator.wire import identifier, timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from gemini_backend.upstream.simulator.options import SimulatorOptions
    from gemini_backend.upstream.simulator.wire import Json

LIFETIME = 48 * 3600.0
_LONGEST_NAME = 40
PAGE, MAX_PAGE = 10, 100


class Files:
    """All files of this simulator."""

    def __init__(self, options: SimulatorOptions) -> None:
        """Starts without any.

        Args:
            options: The clock, and how many files there may be.
        """
        self._options = options
        self._files: dict[str, Json] = {}
        self._made = 0

    def add(self, wanted: Json, mime_type: str, content: bytes, base_url: str) -> Json:
        """Keeps a file; a video is ``PROCESSING`` until it is looked at.

        Raises:
            ApiError: 409 if the name is taken, 400 if it cannot be one.
        """
        self._made += 1
        name = wanted.get("name") or "files/" + identifier(12, "file", self._made, content)
        name = name if name.startswith("files/") else f"files/{name}"
        self._check_name(name)
        now = self._options.now()
        digest = hashlib.sha256(content).hexdigest().encode()
        file: Json = {"name": name}
        display_name = wanted.get("displayName") or wanted.get("display_name")
        if display_name:
            file["displayName"] = display_name
        file |= {
            "mimeType": mime_type or "application/octet-stream",
            "sizeBytes": str(len(content)),
            "createTime": timestamp(now),
            "updateTime": timestamp(now),
            "expirationTime": timestamp(now + LIFETIME),
            "sha256Hash": base64.b64encode(digest).decode(),
            "uri": f"{base_url}/{name}",
            "state": "PROCESSING" if mime_type.startswith("video/") else "ACTIVE",
            "source": "UPLOADED",
        }
        while len(self._files) >= self._options.max_resources:
            del self._files[next(iter(self._files))]
        self._files[name] = file
        return dict(file)

    def check(self, contents: Sequence[Json]) -> None:
        """Refuses contents that name a file which is not here, or not ready.

        Raises:
            ApiError: 403 or 400.
        """
        for content in contents:
            for part in content.get("parts", ()):
                uri: str = part.get("fileData", {}).get("fileUri", "")
                if "/files/" not in uri or not uri.startswith("http"):
                    continue
                name = "files/" + uri.rpartition("/files/")[2]
                if self._find(name)["state"] != "ACTIVE":
                    raise ApiError(
                        "FAILED_PRECONDITION",
                        f"The File {name.removeprefix('files/')} is not in an ACTIVE state and "
                        "usage is not allowed.",
                    )

    async def get(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """One file; looking at a video ends its processing, for the next look."""
        file = self._find(exchange.name)
        answer = dict(file)
        file["state"] = "ACTIVE"
        return json_response(exchange.request, answer)

    async def list(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """A page of the files, the newest first."""
        found = list(reversed(self._files.values()))
        answer = page(found, "files", exchange.request.query, PAGE, MAX_PAGE) if found else {}
        return json_response(exchange.request, answer)

    async def delete(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """Forgets a file."""
        del self._files[self._find(exchange.name)["name"]]
        return json_response(exchange.request, {})

    def _find(self, name: str) -> Json:
        file = self._files.get(name)
        if file is None:
            raise denied_file(name.removeprefix("files/"))
        return file

    def _check_name(self, name: str) -> None:
        if name in self._files:
            raise ApiError("ALREADY_EXISTS", "Requested entity already exists")
        short = name.removeprefix("files/")
        plain = short.replace("-", "").isalnum() and short == short.lower()
        if not plain or len(short) > _LONGEST_NAME or short[0] == "-" or short[-1] == "-":
            raise invalid(
                "* CreateFileRequest.file.name: File name must be up to 40 lowercase letters, "
                "digits and dashes, and cannot begin or end with a dash.\n"
            )
