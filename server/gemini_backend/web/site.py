"""The pages: `/metrics`, `/healthz`, `/readyz`, and an index of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from gemini_backend.sizes import KIB
from gemini_backend.web.guard import PRINCIPAL, guarding

if TYPE_CHECKING:
    from aiohttp.typedefs import Middleware

    from gemini_backend.telemetry.health.health_report import HealthReporter
    from gemini_backend.telemetry.metrics.metrics import Metrics

# Prometheus' text format, as prometheus_client writes it.
_METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_BODY_BYTES = 64 * KIB
_INDEX = """\
Gemini Backend

/metrics  Prometheus text
/healthz  liveness: the process answers
/readyz   readiness: whether the server accepts calls, and the health of its components

The service itself uses gRPC, package gemini.backend.v1.
"""


class ReadyPart(msgspec.Struct, frozen=True):
    """One part, as `/readyz` tells of it."""

    name: str
    state: str
    message: str


class Ready(msgspec.Struct, frozen=True):
    """The body of `/readyz` for those who are not authenticated."""

    ready: bool


class Readiness(msgspec.Struct, frozen=True):
    """The body of `/readyz`."""

    ready: bool
    state: str
    message: str
    components: list[ReadyPart]


def site_of(
    metrics: Metrics, reporter: HealthReporter, guard: Middleware | None = None
) -> web.Application:
    """Return the pages as an application; no page costs anything upstream.

    Args:
        metrics: What `/metrics` has.
        reporter: What `/readyz` reports.
        guard: Lets requests pass; None for all.
    """

    async def index(_request: web.Request) -> web.Response:
        return web.Response(text=_INDEX)

    async def exposition(_request: web.Request) -> web.Response:
        headers = {"Content-Type": _METRICS_TYPE, "Cache-Control": "no-store"}
        return web.Response(body=metrics.exposition(), headers=headers)

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})

    async def ready(request: web.Request) -> web.Response:
        readiness = _readiness(reporter)
        shown = readiness if _may_see(request) else Ready(readiness.ready)
        return web.Response(
            status=HTTPStatus.OK if readiness.ready else HTTPStatus.SERVICE_UNAVAILABLE,
            body=msgspec.json.encode(shown),
            content_type="application/json",
            headers={"Cache-Control": "no-store"},
        )

    site = web.Application(client_max_size=_MAX_BODY_BYTES, middlewares=[guard or guarding(None)])
    site.router.add_get("/", index)
    site.router.add_get("/metrics", exposition)
    site.router.add_get("/healthz", alive)
    site.router.add_get("/readyz", ready)
    return site


def _may_see(request: web.Request) -> bool:
    """Return whether the components are shown: to everybody who has been authenticated."""
    return bool(request[PRINCIPAL].roles)


def _readiness(reporter: HealthReporter) -> Readiness:
    condition = reporter.report()
    return Readiness(
        ready=condition.ready,
        state=condition.state.name.lower(),
        message=condition.message,
        components=[
            ReadyPart(part.name, part.state.name.lower(), part.message)
            for part in condition.components
        ],
    )
