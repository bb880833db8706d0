"""Whether a reply is an answer, by its head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from yarl import URL

from gemini_backend.errors import EmptyAnswer, MalformedAnswer, ServiceError, UpstreamReply
from gemini_backend.sizes import MIB
from gemini_backend.upstream.gemini.connection.proxy import refused_by

if TYPE_CHECKING:
    from gemini_backend.upstream.gemini.connection.exchange import Exchange
    from gemini_backend.upstream.gemini.connection.proxy import Proxy
    from gemini_backend.upstream.gemini.failure import Failures

_OK = 200
_SUCCESS = range(200, 300)
_REDIRECTION = range(300, 400)
_NO_CONTENT, _RESET_CONTENT, _PARTIAL_CONTENT = 204, 205, 206
_PROXY_AUTHENTICATION_REQUIRED = 407
_ERROR_LIMIT = MIB


def is_plain(exchange: Exchange) -> bool:
    """Say whether a reply is an answer without doubt, as nearly all are: `check` would let it pass.

    Others may be answers, too.
    """
    return exchange.status == _OK and "html" not in exchange.content_type


async def check(exchange: Exchange, failures: Failures, model: str, proxy: Proxy | None) -> None:
    """Raise what a reply means unless it is an answer: any success that can have one in it.

    Raises:
        ServiceError: it is not.
    """
    status, kind = exchange.status, exchange.content_type
    # servers that label whatever they send as HTML send answers, too
    if status in _SUCCESS and not ("html" in kind and await exchange.is_page()):
        if status in {_NO_CONTENT, _RESET_CONTENT}:
            msg = f"the model API answered without content (HTTP {status}); retry"
            raise EmptyAnswer(msg, upstream=UpstreamReply(http_status=status))
        if status == _PARTIAL_CONTENT:
            raise MalformedAnswer(
                "the model API sent a part of an answer (HTTP 206), which was not requested; "
                "check the components in front of it, such as a cache",
                upstream=UpstreamReply(http_status=status),
            )
        return
    if status in _REDIRECTION:
        raise _redirected(exchange)
    if status == _PROXY_AUTHENTICATION_REQUIRED and proxy is not None:
        raise refused_by(proxy, status)
    body = await exchange.beginning(_ERROR_LIMIT)
    raise failures.from_reply(status, body, kind, model, exchange.header)


def _redirected(exchange: Exchange) -> ServiceError:
    try:
        to = URL(exchange.header("Location"))
        where = f" to {to.scheme}://{to.host_port_subcomponent}" if to.host else ""
    except ValueError:
        where = ""
    return MalformedAnswer(
        f"the model API's address redirects (HTTP {exchange.status}){where}; redirects are not "
        "followed, so that the key is not sent elsewhere; set upstream.gemini.base_url",
        upstream=UpstreamReply(http_status=exchange.status),
    ).as_lasting()
