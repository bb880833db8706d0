"""What can be wrong with a configuration.

ConfigError             values that cannot be: unknown, of a wrong type, out of range, at odds
├─ RestartNeeded        a live update names settings that only a start reads
├─ StaleEtag            the configuration has changed since the caller read it
├─ UnknownRevision      there is no such revision any more, or there never was
├─ NotKept              a revision cannot be written to disk
└─ DamagedHistory       the revisions on disk cannot be read
"""

from __future__ import annotations

from dataclasses import dataclass

from gemini_backend import masking


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: the setting's path, or what stands for it, and what to do."""

    path: str
    message: str


class ConfigError(ValueError):
    """Every problem of a configuration at once; as text, one sentence that names the fix."""

    def __init__(self, *problems: Problem) -> None:
        """Hold the problems, at least one; a value that is quoted may be a misplaced secret."""
        self.problems = tuple(Problem(one.path, masking.text(one.message)) for one in problems)
        super().__init__("; ".join(problem.message for problem in self.problems))

    @classmethod
    def at(cls, message: str, path: str) -> ConfigError:
        """Return the error for one problem of one setting."""
        return cls(Problem(path, message))


class RestartNeeded(ConfigError):
    """A live update names settings that are read at the start only."""


class StaleEtag(ConfigError):
    """The configuration has changed since the caller read it."""


class UnknownRevision(ConfigError):
    """There is no such revision, or it has fallen out of the bounded history."""


class NotKept(ConfigError):
    """A revision could not be written to disk; it is not in force."""


class DamagedHistory(ConfigError):
    """The revisions on disk cannot be read as they were written; says how to go on."""
