"""``GET models`` and ``GET models/{model}``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.upstream.simulator.exchange import SimulatedExchange, json_response
from gemini_backend.upstream.simulator.resources.paging import page

if TYPE_CHECKING:
    from aiohttp import web

PAGE = 50
MAX_PAGE = 1_000


async def list_models(exchange: SimulatedExchange) -> web.StreamResponse:
    """A page of the models.

    Raises:
        ApiError: 400 for a page token that is none.
    """
    found = [model.resource() for model in exchange.models.listed(exchange.version)]
    answer = page(found, "models", exchange.request.query, PAGE, MAX_PAGE)
    return json_response(exchange.request, answer)


async def get_model(exchange: SimulatedExchange) -> web.StreamResponse:
    """One model.

    Raises:
        ApiError: 404 if there is none of that name.
    """
    model = exchange.models.find(exchange.name, exchange.version, "get")
    return json_response(exchange.request, model.resource())
