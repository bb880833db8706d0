"""A text that nobody may read by accident."""

from __future__ import annotations

from typing import NoReturn

MASK = "********"


class Secret:
    """A secret text: shown, logged and serialised as a mask; `reveal` gives the text itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        """Hide `text`."""
        self._text = text

    def reveal(self) -> str:
        """Return the text; for the one place that has to send it."""
        return self._text

    def __repr__(self) -> str:
        """Return the mask."""
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        """Return the mask."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Return the mask, laid out as asked."""
        return format(MASK, spec)

    def __bool__(self) -> bool:
        """Say whether there is anything to hide."""
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        """Say whether both hide the same text."""
        return self._text == other._text if isinstance(other, Secret) else NotImplemented

    def __hash__(self) -> int:
        """Agree with `==`."""
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied into something that could be read.

        Raises:
            TypeError: always.
        """
        msg = "a secret is never serialised"
        raise TypeError(msg)
