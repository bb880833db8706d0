"""Which of the configured keys a call is made with."""

from __future__ import annotations

from gemini_backend.errors import NoUpstreamKey


class KeyRing:
    """Hands out the keys in turn."""

    def __init__(self) -> None:
        """Begin with the first key."""
        self._turn = 0

    def pick(self, keys: tuple[str, ...]) -> tuple[int, str]:
        """Return the place and the text of the key whose turn it is.

        Raises:
            NoUpstreamKey: there is none.
        """
        if not keys:
            msg = (
                "this server has no key for the model API; set GEMINI_API_KEY or "
                "upstream.gemini.api_keys"
            )
            raise NoUpstreamKey(msg)
        index = self._turn % len(keys)
        self._turn = index + 1
        return index, keys[index]
