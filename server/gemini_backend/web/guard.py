"""The guard of the pages: what an HTTP request presents."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from gemini_backend.errors import Code, ServiceError
from gemini_backend.identity.credentials import presented
from gemini_backend.principal import ANONYMOUS, Principal

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.typedefs import Handler, Middleware

    from gemini_backend.identity.credentials import Certificate, Credentials
    from gemini_backend.identity.guard import Guard

PRINCIPAL: Final = web.RequestKey("principal", Principal)
"""Who asks for a page."""

_STATUSES = {
    Code.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    Code.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    Code.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
}


def guarding(
    guard: Guard | None, certificate_of: Callable[[web.Request], Certificate | None] | None = None
) -> Middleware:
    """Return what lets requests pass by who makes them; everybody where there is no guard.

    Args:
        guard: Decides.
        certificate_of: Returns a peer's certificate; None where none counts.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if guard is None:
            request[PRINCIPAL] = ANONYMOUS
            return await handler(request)
        try:
            credentials = _credentials(request, certificate_of)
            request[PRINCIPAL] = await guard.admit(request.path, credentials)
        except ServiceError as error:
            return _refusal(error)
        return await handler(request)

    return middleware


def _credentials(
    request: web.Request, certificate_of: Callable[[web.Request], Certificate | None] | None
) -> Credentials:
    # several lines of one name are one line (RFC 9110, 5.3), which is nobody's credential
    return presented(
        ", ".join(request.headers.getall("Authorization", ())),
        ", ".join(request.headers.getall("X-Api-Key", ())),
        certificate_of,
        request,
        request.remote or "",
    )


def _refusal(error: ServiceError) -> web.Response:
    status = _STATUSES.get(error.code, HTTPStatus.SERVICE_UNAVAILABLE)
    headers = {"Cache-Control": "no-store"}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(status=status, text=f"{error}\n", headers=headers)
