"""What one authentication costs, by method."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from bench.identity.credentials import MAKERS
from gemini_backend.config.sections.auth import MtlsOptions
from gemini_backend.identity.certificate_reading import CertificateReader
from gemini_backend.identity.certificates import Certificates

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.identity.credentials import Known

ROUNDS, CALLS, TOKENS = 15, 2000, 200


class Cost(NamedTuple):
    """µs of one authentication; `limit` is None without a goal."""

    what: str
    µs: float  # noqa: PLC2401 - the unit
    limit: float | None = None

    @property
    def kept(self) -> bool:
        """Whether it is within its limit."""
        return self.limit is None or self.µs <= self.limit


async def costs(known: Known) -> list[Cost]:
    """Returns what each method costs; the known ones take no wait, the others one by one."""
    keys, tokens = known.keys, known.tokens
    token = known.issuer.token("RS256")
    await tokens.verify(token)
    reader, certificates = CertificateReader(), Certificates(MtlsOptions(), time.time)

    def certificate() -> object:
        return certificates.principal_of(reader.read(known.certificate))

    found = [
        Cost("a known API key", _each(lambda: keys.known(known.secret)), 15.0),
        Cost(f"a known JWT ({len(token)} characters)", _each(lambda: tokens.known(token)), 25.0),
        Cost("a known client certificate", _each(certificate)),
        Cost("an API key that is not known", _each(lambda: keys.known(known.secret[:-1] + "\t"))),
    ]
    for algorithm in MAKERS:
        first = Cost(f"a JWT for the first time, {algorithm}", await _first(known, algorithm))
        found += [first]
    return found


def _each(call: Callable[[], object]) -> float:
    """Returns µs per call: the median of rounds."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        rounds.append((time.perf_counter() - began) / CALLS)
    return median(rounds) * 1e6


async def _first(known: Known, algorithm: str) -> float:
    """Returns µs per token that is verified for the first time: the median."""
    taken = []
    for token in [known.issuer.token(algorithm) for _ in range(TOKENS)]:
        began = time.perf_counter()
        await known.tokens.verify(token)
        taken.append(time.perf_counter() - began)
    return median(taken) * 1e6
