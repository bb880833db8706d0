"""Scripts: rules that say which requests fail, and how."""

from __future__ import annotations

import random
import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gemini_backend.upstream.simulator.faults.fault import Fault, ScriptError

if TYPE_CHECKING:
    from gemini_backend.upstream.simulator.limits import Arrival


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which requests a rule is about; all that is given must hold.

    Attributes:
        method: Such as ``streamGenerateContent``; empty for any.
        model: A regular expression that the model's whole name must match; empty for any.
        prompt: A text that the prompt must contain; empty for any.
        key: The API key it must come with; empty for any.
        nth: Only the nth such request, from 1.
        every: Only each nth such request.
        first: Only the first n such requests.
        probability: The share of such requests, between 0 and 1, drawn from the script's seed.
    """

    method: str = ""
    model: str = ""
    prompt: str = ""
    key: str = ""
    nth: int = 0
    every: int = 0
    first: int = 0
    probability: float = 1.0

    def __post_init__(self) -> None:
        """Refuses what cannot be."""
        try:
            re.compile(self.model)
        except re.error as error:
            message = f"match.model is not a regular expression: {error}"
            raise ValueError(message) from error
        if not 0.0 <= self.probability <= 1.0:
            message = "match.probability must be between 0 and 1"
            raise ValueError(message)
        if min(self.nth, self.every, self.first) < 0:
            message = "match.nth, match.every and match.first must not be negative"
            raise ValueError(message)

    def concerns(self, arrival: Arrival) -> bool:
        """Whether method, model, prompt and key fit."""
        return (
            self.method in ("", arrival.method)
            and (not self.model or re.fullmatch(self.model, arrival.model) is not None)
            and self.prompt in arrival.prompt
            and self.key in ("", arrival.key)
        )

    def chosen(self, number: int, draw: float) -> bool:
        """Whether the ``number``-th request that it concerns, from 1, is one that it picks."""
        return (
            (not self.nth or number == self.nth)
            and (not self.every or number % self.every == 0)
            and (not self.first or number <= self.first)
            and draw < self.probability
        )


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Requests that match get the fault, or the faults, all at once."""

    match: Match = Match()
    fault: Fault | None = None
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        """Refuses a rule that does nothing."""
        if self.fault is None and not self.faults:
            message = "a rule needs `fault` or `faults`"
            raise ValueError(message)

    def all(self) -> tuple[Fault, ...]:
        """All its faults."""
        return (*((self.fault,) if self.fault else ()), *self.faults)


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A quota that is really kept: the request above it gets a 429 with the true ``retryDelay``.

    Attributes:
        model: A regular expression for the models that share the quota; empty for all of them.
        requests_per_minute: Most requests within any minute; 0 for no limit.
        tokens_per_minute: Most prompt tokens within any minute; 0 for no limit.
        requests_per_day: Most requests within any 24 hours; 0 for no limit.
    """

    model: str = ""
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    requests_per_day: int = 0


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rules, in order, and quotas. Every rule that matches adds its faults."""

    rules: tuple[Rule, ...] = ()
    limits: tuple[Limit, ...] = ()
    seed: int = 0


def parse_script(source: bytes | str) -> Script:
    """A script from JSON or TOML.

    Raises:
        ScriptError: If it is neither, or says what no script can say.
    """
    text = source.decode("utf-8", "replace") if isinstance(source, bytes) else source
    try:
        if text.lstrip().startswith("{"):
            return msgspec.json.decode(text, type=Script)
        return msgspec.convert(tomllib.loads(text), Script)
    except (msgspec.ValidationError, msgspec.DecodeError, tomllib.TOMLDecodeError) as error:
        raise ScriptError(str(error)) from error


def read_script(path: str) -> Script:
    """The script in a file.

    Raises:
        ScriptError: If there is no such file, or it cannot be read as a script.
    """
    try:
        return parse_script(Path(path).read_bytes())
    except OSError as error:
        message = f"cannot read the script {path}: {error.strerror}"
        raise ScriptError(message) from error
    except ScriptError as error:
        message = f"the script {path} is not valid: {error}"
        raise ScriptError(message) from error


class Rules:
    """A script at work: counts what each rule has seen."""

    def __init__(self, script: Script) -> None:
        """Starts from nothing.

        Args:
            script: What to do.
        """
        self.script = script
        self._seen = [0] * len(script.rules)
        self._random = random.Random(script.seed)  # noqa: S311 - repeatable by design

    def faults(self, arrival: Arrival) -> list[Fault]:
        """What goes wrong with this request."""
        found: list[Fault] = []
        for index, rule in enumerate(self.script.rules):
            if not rule.match.concerns(arrival):
                continue
            self._seen[index] += 1
            if rule.match.chosen(self._seen[index], self._random.random()):
                found += rule.all()
        return found
