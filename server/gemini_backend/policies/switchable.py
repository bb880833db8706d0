"""Policies that their options can switch off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gemini_backend.call import Call
    from gemini_backend.policies.base import Stream, Unary


class Switch(Protocol):
    """Options that say whether their policy is on."""

    @property
    def enabled(self) -> bool:
        """Whether it is on."""
        ...


Options = TypeVar("Options", bound=Switch)


class Switchable(ABC, Generic[Options]):
    """A policy that adds nothing to a call that begins while it is off.

    What was on when a call began stays on to the call's end, with the options of that moment.
    """

    def __init__(self, options: Callable[[], Options]) -> None:
        """Read the options anew for each call."""
        self._options = options

    def unary(self, call: Call, request: Any, proceed: Unary[Any, Any], /) -> Awaitable[Any]:
        """Answer as the policy does, or by the rest alone."""
        options = self._options()
        if options.enabled:
            return self._unary(call, request, proceed, options)
        return proceed(call, request)

    def stream(self, call: Call, request: Any, proceed: Stream[Any, Any], /) -> AsyncIterator[Any]:
        """Yield events as the policy does, or those of the rest alone."""
        options = self._options()
        if options.enabled:
            return self._stream(call, request, proceed, options)
        return proceed(call, request)

    @abstractmethod
    async def _unary(
        self, call: Call, request: Any, proceed: Unary[Any, Any], options: Options
    ) -> Any: ...

    @abstractmethod
    def _stream(
        self, call: Call, request: Any, proceed: Stream[Any, Any], options: Options
    ) -> AsyncIterator[Any]: ...

    @abstractmethod
    def _shown(self, options: Options) -> str:
        """Return the options that tell most of the policy, as text."""

    def __repr__(self) -> str:
        """Name the policy and its options."""
        options = self._options()
        shown = self._shown(options) if options.enabled else "off"
        return f"{type(self).__name__}({shown})"


class Switched(ABC, Generic[Options]):
    """A hook or wrapper that its options can switch off, for calls that begin from then on."""

    def __init__(self, options: Callable[[], Options]) -> None:
        """Read the options anew for each call."""
        self._options = options

    def is_on(self) -> bool:
        """Return whether it takes part in calls that begin now."""
        return self._options().enabled

    @abstractmethod
    def _shown(self, options: Options) -> str:
        """Return the options that tell most of the layer, as text."""

    def __repr__(self) -> str:
        """Name the layer and its options."""
        options = self._options()
        shown = self._shown(options) if options.enabled else "off"
        return f"{type(self).__name__}({shown})"
