"""Keys that come back in what the model API says are struck out before anyone sees them."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gemini_backend.errors import ServiceError

_LOOKS_LIKE_A_KEY = re.compile(r"AIza[0-9A-Za-z_-]{30,}|\bAQ\.[0-9A-Za-z_-]{20,}")
_STRUCK = "[key]"
_SHORTEST = 4


class Mask:
    """Strikes out the server's own keys, and whatever looks like one of Google's."""

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        """Know the keys; what is shorter than any key would only blot out words."""
        known = (key for key in keys if len(key) >= _SHORTEST)
        self._keys = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return the text without keys."""
        for key in self._keys:
            text = text.replace(key, _STRUCK)
        return _LOOKS_LIKE_A_KEY.sub(_STRUCK, text)

    def value(self, value: Any) -> Any:
        """Return any JSON value without keys, names of fields included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        return value

    def error(self, error: ServiceError) -> ServiceError:
        """Strike keys out of everything that an error says, and return it."""
        error.message = self.text(error.message)
        error.args = (error.message,)
        error.violations = tuple(
            replace(item, field=self.text(item.field), description=self.text(item.description))
            for item in error.violations
        )
        error.quota = tuple(
            replace(item, subject=self.text(item.subject), description=self.text(item.description))
            for item in error.quota
        )
        error.links = tuple((self.text(words), self.text(url)) for words, url in error.links)
        error.metadata = self.value(error.metadata)
        reply = error.upstream
        if reply is not None:
            error.upstream = replace(
                reply,
                status=self.text(reply.status),
                message=self.text(reply.message),
                details=tuple(self.value(dict(detail)) for detail in reply.details),
                extra=self.value(dict(reply.extra)),
            )
        return error
