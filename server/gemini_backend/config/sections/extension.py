"""What an operator adds to the chain: faults for drills, layers of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from gemini_backend.config.about import Options, about
from gemini_backend.config.errors import ConfigError

_MAX_RULES = 100
_MAX_INTERCEPTORS = 100


class ChaosRuleOptions(Options, frozen=True):
    """A rule for one kind of fault.

    `fault` is `error` (fails the attempt at once), `latency` (delays it) or `cut` (ends its stream
    with a failure); `probability` is drawn anew for each attempt; an empty `model` means every one.
    """

    fault: Literal["error", "latency", "cut"]
    probability: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    model: Annotated[str, msgspec.Meta(max_length=160)] = ""
    latency_seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 1.0
    after_events: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 1


class ChaosOptions(Options, frozen=True):
    """Deliberate faults, for drills."""

    enabled: Annotated[bool, about("Enables the rules; disabled unless set.")] = False
    rules: Annotated[
        tuple[ChaosRuleOptions, ...],
        about(
            "Tables with `fault` (`error`, `latency`, `cut`), `probability`, `model`, "
            "`latency_seconds`, `after_events`; tried in order for each attempt; at most 100.",
            live=True,
        ),
    ] = ()

    def _check(self) -> None:
        """Refuse more rules than anybody can oversee.

        Raises:
            ConfigError: there are.
        """
        if len(self.rules) > _MAX_RULES:
            msg = (
                f"chaos.rules has {len(self.rules)} rules and may have at most {_MAX_RULES}; "
                "merge some of them"
            )
            raise ConfigError.at(msg, "chaos.rules")


class InterceptorOptions(Options, frozen=True):
    """A custom layer of the operator.

    `name` is its entry point in the group `gemini_backend.interceptors`; it is mounted directly
    outside the layer named by `before` or directly inside the one named by `after`; `options` are
    passed to it.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    before: str = ""
    after: str = ""
    options: dict[str, Any] = msgspec.field(default_factory=dict)

    def _check(self) -> None:
        """Refuse a place that is none, or two.

        Raises:
            ConfigError: it is so.
        """
        if bool(self.before) == bool(self.after):
            msg = (
                f"interceptors: {self.name!r} must have exactly one of before and after; name the "
                "layer next to which it is mounted"
            )
            raise ConfigError.at(msg, "interceptors")
