"""ConfigService of a running server, as the commands ask it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend_client import InvalidRequestError
from gemini_backend_client.commands.command_line import UsageError, client_from

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    Ask = Callable[[str, Any], Any]

_PAGE = 100


@contextmanager
def asking(args: Namespace) -> Iterator[Ask]:
    """Give what calls a method of ConfigService by its name.

    Raises:
        UsageError: arguments do not go together, or the server finds a field invalid.
        GeminiBackendError: the call fails.
    """
    with client_from(args) as client:

        def ask(method: str, request: Any) -> Any:
            try:
                return client.call(getattr(client.stubs.config, method), request)
            except InvalidRequestError as error:
                raise UsageError(error.message) from error

        yield ask


def revisions(ask: Ask) -> Iterator[pb.ConfigRevision]:
    """Yield the revisions of the server, latest first."""
    request = pb.ListConfigRevisionsRequest(page_size=_PAGE)
    while True:
        page = ask("ListConfigRevisions", request)
        yield from page.revisions
        request.page_token = page.next_page_token
        if not request.page_token:
            return
