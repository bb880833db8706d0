"""Why no answer came on a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.upstream.gemini.connection.sockets import path_died

if TYPE_CHECKING:
    from gemini_backend.errors import ServiceError
    from gemini_backend.upstream.gemini.connection.connect_errors import Destination


class NoAnswer(Exception):
    """A request has not got the head of an answer.

    Attributes:
        not_carried_out: On a connection that was in use before it means that the other side has
            not carried the request out: it may be sent again on a fresh one.
    """

    not_carried_out = False

    def told(self, to: Destination) -> ServiceError:
        """Return what the caller is told."""
        raise NotImplementedError


class UnusableConnection(NoAnswer):
    """The connection cannot be trusted with the request, which has not been carried out."""

    not_carried_out = True

    def told(self, to: Destination) -> ServiceError:
        """Return that it was closed, or that something came on it, before the request."""
        return to.not_trusted()


class HungUp(NoAnswer):
    """The connection was lost."""

    def __init__(self, error: BaseException | None, *, begun: bool) -> None:
        """Say what the kernel said, None where the other side closed it.

        `begun` says whether a byte of an answer had come.
        """
        self._path_died = path_died(error)
        # where the path died, the model may be at work on it
        self.not_carried_out = not begun and not self._path_died

    def told(self, to: Destination) -> ServiceError:
        """Return that it was closed, or that its path is dead."""
        return to.path_died() if self._path_died else to.hung_up()


class HeadTooLarge(NoAnswer):
    """The head of an answer, with those of informational ones before it, has no end in sight."""

    def told(self, to: Destination) -> ServiceError:
        """Return that it is too large."""
        return to.head_too_large()


class NotHttp(NoAnswer):
    """What came is no head of an answer; the text says why, and repeats nothing of it."""

    def told(self, to: Destination) -> ServiceError:
        """Return that something else is spoken there."""
        return to.not_http(self)


class UnknownEncoding(NoAnswer):
    """The body is packed in a way that cannot be unpacked."""

    def told(self, to: Destination) -> ServiceError:
        """Return that it is."""
        return to.unknown_encoding()
