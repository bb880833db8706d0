"""How a field of the tree says what it is: meaning, range, whether it is live."""

from __future__ import annotations

import msgspec

from gemini_backend.checked_fields import check_fields

DAY_SECONDS = 86_400.0
MODEL_PATTERN = r"^(models/|tunedModels/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every section: frozen, by keyword only; refuses values that no field allows."""

    def __post_init__(self) -> None:
        """Refuse values that a field does not allow, and values at odds with each other.

        Raises:
            WrongValue: a field does not allow its value.
            ConfigError: values that are right by themselves are at odds with each other.
        """
        check_fields(self)
        self._check()

    def _check(self) -> None:
        """Refuse values at odds with each other; sections that know of any do.

        Raises:
            ConfigError: they are.
        """


def about(
    description: str,
    *,
    live: bool = False,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
) -> msgspec.Meta:
    """Return the annotation of a setting that is not a pattern-bound text.

    Args:
        description: Meaning and unit, as it stands in docs/configuration.md.
        live: Whether a running server takes up a change from the next call on.
        ge: Smallest value allowed.
        gt: What the value must exceed.
        le: Largest value allowed.
    """
    extra = {"live": live}
    if gt is not None:
        return msgspec.Meta(description=description, extra=extra, gt=gt, le=le)
    return msgspec.Meta(description=description, extra=extra, ge=ge, le=le)


def named(description: str, pattern: str, *, live: bool = False) -> msgspec.Meta:
    """Return the annotation of a text that has to match `pattern`, a regular expression."""
    return msgspec.Meta(description=description, extra={"live": live}, pattern=pattern)
