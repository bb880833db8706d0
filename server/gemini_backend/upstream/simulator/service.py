"""From a request to its answer: key, faults, quotas, method, errors."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from aiohttp import web

from gemini_backend.upstream.simulator import tokens
from gemini_backend.upstream.simulator.answers import embeddings
from gemini_backend.upstream.simulator.answers.generate import Generation
from gemini_backend.upstream.simulator.aside import aside
from gemini_backend.upstream.simulator.errors import ApiError, bad_key, invalid, no_key
from gemini_backend.upstream.simulator.exchange import (
    SimulatedExchange,
    json_response,
    text_response,
)
from gemini_backend.upstream.simulator.faults import Fault, ScriptError, bodies
from gemini_backend.upstream.simulator.faults.fault import from_directive, from_header
from gemini_backend.upstream.simulator.faults.transport import EndedError
from gemini_backend.upstream.simulator.limits import Arrival
from gemini_backend.upstream.simulator.models import Models
from gemini_backend.upstream.simulator.requests.long_decode import number_of
from gemini_backend.upstream.simulator.resources import listing
from gemini_backend.upstream.simulator.resources.caches import Caches
from gemini_backend.upstream.simulator.resources.files import Files
from gemini_backend.upstream.simulator.resources.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gemini_backend.upstream.simulator.control import Control
    from gemini_backend.upstream.simulator.engines import Engine
    from gemini_backend.upstream.simulator.journal import RequestJournal
    from gemini_backend.upstream.simulator.options import SimulatorOptions

    Handler = Callable[[SimulatedExchange], Awaitable[web.StreamResponse]]

_ROUTE = re.compile(
    r"/(?P<upload>upload/)?(?P<version>v1beta|v1)/(?P<collection>models|files|cachedContents)"
    r"(?:/(?P<name>[^:]+))?(?::(?P<method>\w+))?/?"
)
_DIRECTIVE = re.compile(rb"\[\[\s*fault:\s*(.*?)\]\]")
FAULT_HEADER = "x-simulator-fault"


class Service:
    """Answers every request for Gemini's API."""

    def __init__(
        self, options: SimulatorOptions, engine: Engine, journal: RequestJournal, control: Control
    ) -> None:
        """Builds the methods.

        Args:
            options: How the simulator is set up.
            engine: What writes the text.
            journal: What remembers the requests.
            control: Rules and quotas.
        """
        self._options = options
        self._journal = journal
        self._control = control
        self._models = Models(options.models)
        files, caches = Files(options), Caches(options)
        generation = Generation(options, engine, files, caches, journal)
        self._handlers: dict[str, Handler] = {
            "generateContent": generation.generate,
            "streamGenerateContent": generation.stream,
            "countTokens": generation.count,
            "embedContent": embeddings.embed,
            "batchEmbedContents": embeddings.embed_batch,
            "listModels": listing.list_models,
            "getModel": listing.get_model,
            "uploadFile": Uploads(options, files).handle,
            "listFiles": files.list,
            "getFile": files.get,
            "deleteFile": files.delete,
            "createCachedContent": caches.create,
            "listCachedContents": caches.list,
            "getCachedContent": caches.get,
            "patchCachedContent": caches.patch,
            "deleteCachedContent": caches.delete,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answers one request."""
        method, version, name = _route(request)
        handler = self._handlers.get(method)
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            limit = self._options.max_body
            refused = invalid(f"Request payload size exceeds the limit: {limit} bytes.")
            return json_response(request, refused.body(), refused.code)
        entry = self._journal.record(request, method or "unknown", name, body)
        exchange = SimulatedExchange(request, method, version, name, body, entry, self._models)
        if handler is None:
            response: web.StreamResponse = _page(request, 404)
        else:
            response = await self._guarded(exchange, handler)
        self._journal.answered(entry, response.status)
        return response

    async def _guarded(self, exchange: SimulatedExchange, handler: Handler) -> web.StreamResponse:
        try:
            return await self._answer(exchange, handler)
        except ApiError as error:
            return _refusal(exchange, error)
        except EndedError:
            started = exchange.transmission
            return started.response if started else web.Response()
        except (asyncio.CancelledError, ConnectionResetError):
            started = exchange.transmission
            self._journal.aborted(exchange.entry, started.sent if started else 0)
            raise

    async def _answer(self, exchange: SimulatedExchange, handler: Handler) -> web.StreamResponse:
        # The address of an upload is a secret of its own: clients send it no key.
        if "upload_id" not in exchange.request.query or exchange.method != "uploadFile":
            self._authorise(exchange.key)
        arrival = await aside(len(exchange.body), _arrival, exchange)
        exchange.faults = await aside(len(exchange.body), self._faults, exchange, arrival)
        delay = exchange.fault("first_byte_delay")
        seconds = self._options.first_byte_delay
        if delay is not None:
            seconds = 1.0 if delay.seconds is None else delay.seconds
        if seconds:
            await self._options.pause(seconds)
        for fault in exchange.faults:
            if fault.fault == "html":
                return _page(exchange.request, fault.code or 502)
            error = bodies.error_for(fault, exchange.name, exchange.version, exchange.method)
            if error is not None:
                raise error
        if exchange.name and exchange.method not in ("getModel", "getFile", "deleteFile"):
            self._control.quotas.take(arrival)
        return await handler(exchange)

    def _authorise(self, key: str) -> None:
        if not key:
            raise no_key()
        if self._options.api_keys and key not in self._options.api_keys:
            raise bad_key()

    def _faults(self, exchange: SimulatedExchange, arrival: Arrival) -> list[Fault]:
        found = self._control.rules.faults(arrival)
        try:
            header = exchange.request.headers.get(FAULT_HEADER)
            if header:
                found += from_header(header)
            for directive in _DIRECTIVE.findall(exchange.body):
                found.append(from_directive(directive.decode("utf-8", "replace")))
        except (ScriptError, ValueError) as error:
            raise bodies.script_error(error) from error
        if any(fault.hop is not None for fault in found):
            number = number_of(exchange.body)
            found = [fault for fault in found if fault.hop in (None, number)]
        return found


def _route(request: web.BaseRequest) -> tuple[str, str, str]:
    """Method, version and name; the method is empty if there is none."""
    match = _ROUTE.fullmatch(request.path)
    if match is None:
        return "", "v1beta", ""
    version, name = match["version"], match["name"] or ""
    if match["upload"]:
        fits = match["collection"] == "files" and request.method in ("POST", "PUT")
        return ("uploadFile" if fits else ""), version, ""
    if match["method"]:
        fits = match["collection"] == "models" and request.method == "POST"
        return (match["method"] if fits else ""), version, name
    return (
        _resource_method(request.method, match["collection"], name),
        version,
        (name if match["collection"] == "models" or not name else f"{match['collection']}/{name}"),
    )


def _resource_method(verb: str, collection: str, name: str) -> str:
    singular = {"models": "Model", "files": "File", "cachedContents": "CachedContent"}[collection]
    if not name:
        plural = singular + "s"
        return {"GET": "list" + plural, "POST": "create" + singular}.get(verb, "")
    prefix = {"GET": "get", "PATCH": "patch", "DELETE": "delete"}.get(verb)
    return prefix + singular if prefix else ""


def _arrival(exchange: SimulatedExchange) -> Arrival:
    text = exchange.body.decode("utf-8", "replace") if exchange.name else ""
    return Arrival(exchange.method, exchange.name, text, exchange.key, tokens.count(text))


def _refusal(exchange: SimulatedExchange, error: ApiError) -> web.StreamResponse:
    body: object = error.body()
    # A stream that is an array refuses in an array.
    if exchange.wants_array:
        body = [body]
    return json_response(exchange.request, body, error.code)


def _page(request: web.BaseRequest, code: int) -> web.Response:
    return text_response(request, bodies.html(code).encode(), "text/html; charset=UTF-8", code)
