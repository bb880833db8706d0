"""ConfigService of a running server, as the commands ask it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gemini.backend.v1 import config_service_pb2 as pb
from gemini_backend.commands import on_this_machine

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Ask = Callable[[str, Any], Any]

_PAGE = 100


def asking(args: Namespace) -> AbstractContextManager[Ask]:
    """Give what calls a method of ConfigService by its name.

    Raises:
        UsageError: arguments do not go together, or the server finds a field invalid.
        GeminiBackendError: the call fails.
    """
    return on_this_machine.asking(args, "config")


def revisions(ask: Ask) -> Iterator[pb.ConfigRevision]:
    """Yield the revisions of the server, latest first."""
    request = pb.ListConfigRevisionsRequest(page_size=_PAGE)
    while True:
        page = ask("ListConfigRevisions", request)
        yield from page.revisions
        request.page_token = page.next_page_token
        if not request.page_token:
            return
