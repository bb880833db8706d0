"""Masks secrets in everything that an error says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gemini_backend import masking

if TYPE_CHECKING:
    from gemini_backend.errors.base import ServiceError


def masked(error: ServiceError) -> ServiceError:
    """Mask secrets in an error, and return it.

    What an answer had brought before it is masked already, where the answer is read.
    """
    text, value = masking.text, masking.value
    error.message = text(error.message)
    error.args = (error.message,)
    error.violations = tuple(
        replace(item, field=text(item.field), description=text(item.description))
        for item in error.violations
    )
    error.quota = tuple(
        replace(item, subject=text(item.subject), description=text(item.description))
        for item in error.quota
    )
    error.links = tuple((text(words), text(url)) for words, url in error.links)
    error.metadata = value(error.metadata)
    reply = error.upstream
    if reply is not None:
        error.upstream = replace(
            reply,
            status=text(reply.status),
            message=text(reply.message),
            details=tuple(value(dict(detail)) for detail in reply.details),
            extra=value(dict(reply.extra)),
        )
    return error
