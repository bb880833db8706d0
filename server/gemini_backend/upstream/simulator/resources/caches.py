"""``cachedContents``: prompts kept for a while, at a lower price."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.errors import denied_cache, invalid
from gemini_backend.upstream.simulator.exchange import SimulatedExchange, json_response
from gemini_backend.upstream.simulator.requests import decode, prompt_tokens
from gemini_backend.upstream.simulator.resources.paging import page
from gemini_backend.upstream.simulator.wire import identifier, timestamp

if TYPE_CHECKING:
    from aiohttp import web

    from gemini_backend.upstream.simulator.options import SimulatorOptions
    from gemini_backend.upstream.simulator.wire import Json

DEFAULT_TTL = 3600.0
PAGE, MAX_PAGE = 50, 1_000


class Caches:
    """All cached contents of this simulator."""

    def __init__(self, options: SimulatorOptions) -> None:
        """Starts without any.

        Args:
            options: The clock, and how many there may be.
        """
        self._options = options
        # Name -> (what is shown, what was cached, when it ends).
        self._entries: dict[str, tuple[Json, Json, float]] = {}
        self._made = 0

    def content(self, name: str) -> Json | None:
        """What was cached under ``name``; None for no name.

        Raises:
            ApiError: 403 if there is none, or it has expired.
        """
        return self._find(name)[1] if name else None

    async def create(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """Caches a prompt.

        Raises:
            ApiError: If the model does not exist, or the prompt is too small to be cached.
        """
        request = decode(exchange.body, "CachedContent")
        model = exchange.models.find(
            request.get("model", ""), exchange.version, "createCachedContent"
        )
        total = sum(prompt_tokens(request).values())
        if total < model.cache_minimum:
            raise invalid(
                f"Cached content is too small. total_token_count={total}, "
                f"min_total_token_count={model.cache_minimum}"
            )
        self._made += 1
        now = self._options.now()
        name = "cachedContents/" + identifier(40, "cache", self._made, exchange.body)
        ends = _ends(request, now)
        shown: Json = {
            "name": name,
            "model": f"models/{model.name}",
            "createTime": timestamp(now),
            "updateTime": timestamp(now),
            "expireTime": timestamp(ends),
            "displayName": request.get("displayName", ""),
            "usageMetadata": {"totalTokenCount": total},
        }
        while len(self._entries) >= self._options.max_resources:
            del self._entries[next(iter(self._entries))]
        self._entries[name] = (shown, request, ends)
        return json_response(exchange.request, shown)

    async def get(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """One cached content."""
        return json_response(exchange.request, self._find(exchange.name)[0])

    async def list(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """A page of the cached contents."""
        now = self._options.now()
        found = [shown for shown, _, ends in self._entries.values() if ends > now]
        query = exchange.request.query
        answer = page(found, "cachedContents", query, PAGE, MAX_PAGE) if found else {}
        return json_response(exchange.request, answer)

    async def patch(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """Changes when a cached content ends; nothing else of it can be changed."""
        shown, cached, _ = self._find(exchange.name)
        request = decode(exchange.body, "CachedContent")
        if "ttl" not in request and "expireTime" not in request:
            raise invalid("Only ttl and expire_time of a CachedContent can be updated.")
        now = self._options.now()
        ends = _ends(request, now)
        shown = {**shown, "updateTime": timestamp(now), "expireTime": timestamp(ends)}
        self._entries[shown["name"]] = (shown, cached, ends)
        return json_response(exchange.request, shown)

    async def delete(self, exchange: SimulatedExchange) -> web.StreamResponse:
        """Forgets a cached content."""
        del self._entries[self._find(exchange.name)[0]["name"]]
        return json_response(exchange.request, {})

    def _find(self, name: str) -> tuple[Json, Json, float]:
        entry = self._entries.get(name)
        if entry is None or entry[2] <= self._options.now():
            self._entries.pop(name, None)
            raise denied_cache()
        return entry


def _ends(request: Json, now: float) -> float:
    try:
        if "expireTime" in request:
            return datetime.fromisoformat(request["expireTime"]).timestamp()
        ttl = request.get("ttl", f"{DEFAULT_TTL}s")
        return now + float(ttl.removesuffix("s"))
    except ValueError as error:
        raise invalid("Invalid value at 'cached_content': ttl is like \"3600s\".") from error
