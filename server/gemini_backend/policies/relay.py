"""Hooks that stand beside each other, run by one relay: one step of a call for all of them.

A hook begins, and may leave a watch on the answer. It costs a function call where it is on; one
that is off is not there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from gemini_backend.policies.event_stream import end_all

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from gemini_backend.call import Call
    from gemini_backend.policies.event_stream import EventStream, Watch

    Begin = Callable[["Run"], Awaitable[None] | None]


class Run:
    """One run of the rest of a call, as the hooks of a relay begin it, outermost first.

    Attributes:
        call: The call; a hook may put a narrowed one in its place.
        request: The request, which is read-only; a hook may put a changed copy in its place.
        streams: Whether the answer is streamed.
        watches: What the hooks want to know of the answer.
    """

    __slots__ = ("call", "request", "streams", "watches")

    def __init__(self, call: Call, request: Any, *, streams: bool) -> None:
        """Begin with what came from further out."""
        self.call = call
        self.request = request
        self.streams = streams
        self.watches: list[Watch] = []

    def watch(self, watch: Watch) -> None:
        """Watch the answer; the watch is told of the end whatever happens from now on."""
        self.watches.append(watch)


class Hook(ABC):
    """A layer that runs the rest exactly once, or refuses the call.

    Attributes:
        at_once: Whether it may begin before anybody awaits the answer, in whichever task: it does
            not ask for the current task, nor read a context variable.
    """

    at_once: ClassVar[bool] = False

    def is_on(self) -> bool:
        """Return whether its options have it take part in calls that begin now."""
        return True

    @abstractmethod
    def begin(self, run: Run, /) -> Awaitable[None] | None:
        """Begin a call: let it pass, refuse it, change it, watch its answer.

        What is returned is awaited before the rest begins; None for no wait, which is cheaper.

        Raises:
            ServiceError: the call is refused.
        """


class Relay:
    """Runs the hooks, then the rest; hands the answer's events to who asked for them."""

    __slots__ = ("_at_once", "_begins", "_inner")

    def __init__(self, hooks: Sequence[Hook], inner: Callable[[Call, Any], Awaitable[Any]]) -> None:
        """Stand round `inner`, the rest of the call; the first hook is the outermost."""
        self._begins = tuple(hook.begin for hook in hooks)
        self._at_once = all(hook.at_once for hook in hooks)
        self._inner = inner

    def unary(self, call: Call, request: Any) -> Awaitable[Any]:
        """Return the whole answer, past every watch.

        Where hooks that begin at once neither wait nor watch, that is the rest itself.

        Raises:
            BaseException: what a hook that begins at once has raised.
        """
        return self._begun(Run(call, request, streams=False), self._whole)

    def _begun(self, run: Run, rest: Callable[..., Awaitable[Any]]) -> Awaitable[Any]:
        """Let hooks begin that begin at once; return what remains, which `rest` makes of it."""
        if not self._at_once:
            return rest(run, self._begins)
        begins = iter(self._begins)
        waiting = self._begin(run, begins)
        if waiting is None and not run.watches:
            return self._inner(run.call, run.request)
        return rest(run, begins, waiting)

    async def _whole(
        self, run: Run, begins: Iterable[Begin], waiting: Awaitable[None] | None = None
    ) -> Any:
        """Return the whole answer; begin what has not begun, once a wait is over."""
        watches = run.watches
        try:
            if waiting is not None:
                await waiting
            for begin in begins:
                waiting = begin(run)
                if waiting is not None:
                    await waiting
            response = await self._inner(run.call, run.request)
            while watches:
                looked = watches[-1].answer(response)
                if looked is not None:
                    await looked
                failure = watches.pop().end(None)
                if failure is not None:
                    raise failure  # noqa: TRY301 - those further out are told
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise end_all(watches[::-1], error) or error from error.__cause__
        return response

    def stream(self, call: Call, request: Any) -> Awaitable[EventStream]:
        """Return the answer's events when the first one is there and every watch has seen it.

        Where hooks that begin at once neither wait nor watch, that is the rest itself.

        Raises:
            BaseException: what a hook that begins at once has raised.
        """
        return self._begun(Run(call, request, streams=True), self._opened)

    async def _opened(
        self, run: Run, begins: Iterable[Begin], waiting: Awaitable[None] | None = None
    ) -> EventStream:
        """Return the stream, watched; begin what has not begun, once a wait is over."""
        watches = run.watches
        try:
            if waiting is not None:
                await waiting
            for begin in begins:
                waiting = begin(run)
                if waiting is not None:
                    await waiting
            events: EventStream = await self._inner(run.call, run.request)
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise end_all(watches[::-1], error) or error from error.__cause__
        looked = watched(events, watches)
        if looked is not None:
            await looked
        return events

    @staticmethod
    def _begin(run: Run, begins: Iterator[Begin]) -> Awaitable[None] | None:
        """Begin hooks up to one that waits; return its wait, None where all have begun."""
        try:
            for begin in begins:
                waiting = begin(run)
                if waiting is not None:
                    return waiting
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            raise end_all(run.watches[::-1], error) or error from error.__cause__
        return None


def watched(events: EventStream, watches: list[Watch]) -> Awaitable[None] | None:
    """Let watches, of which the first is the outermost, watch; await what is returned, if any.

    A stream that fails by one of them is closed. What is awaited raises what that one has raised,
    or one further out has put in its place.
    """
    while watches:
        watch = watches.pop()
        try:
            looked = events.watch(watch)
        except BaseException as error:  # noqa: BLE001 - told to all, and raised
            return _failed(events, watch, watches, error)
        if looked is not None:
            return _watched_on(events, watch, watches, looked)
    return None


async def _watched_on(
    events: EventStream, watch: Watch, outer: list[Watch], looked: Awaitable[None]
) -> None:
    """Wait for what a watch wants to be awaited, then go on with those outside of it."""
    try:
        await looked
    except BaseException as error:  # noqa: BLE001 - told to all, and raised
        await _failed(events, watch, outer, error)
    waiting = watched(events, outer)
    if waiting is not None:
        await waiting


async def _failed(
    events: EventStream, culprit: Watch, outer: list[Watch], error: BaseException
) -> None:
    """Close a stream for what a watch has raised, and raise what becomes of that further out."""
    failure = await events.fail(culprit, error)
    raise end_all(outer[::-1], failure) or failure from error.__cause__
