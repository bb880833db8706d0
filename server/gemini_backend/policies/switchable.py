"""Layers that their options can switch off."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable


class Switch(Protocol):
    """Options that say whether their layer is on."""

    @property
    def enabled(self) -> bool:
        """Whether it is on."""
        ...


Options = TypeVar("Options", bound=Switch)


class Switchable(ABC, Generic[Options]):
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
