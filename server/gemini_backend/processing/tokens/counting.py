"""How many tokens a request has, and how far that can be trusted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gemini.backend.v1 import content_pb2 as pb
from gemini.backend.v1 import execute_service_pb2 as execute
from gemini_backend.clock import SystemClock
from gemini_backend.processing.slices import Slices
from gemini_backend.processing.tokens.countable_parts import CountableParts, ledger_of
from gemini_backend.processing.tokens.model_generation import GEMMA_3, NEWEST, generation_of
from gemini_backend.processing.tokens.rules_of_thumb import ample_tokens_of
from gemini_backend.processing.tokens.vocabulary import LONGEST_TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gemini_backend.call import Call
    from gemini_backend.clock import Clock
    from gemini_backend.processing.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenEstimate:
    """Tokens by kind of medium; `at_least` of them are certain."""

    by_modality: Mapping[int, int]
    exact: bool
    at_least: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_modality.values())

    def response(self, model: str) -> execute.CountTokensResponse:
        """Return the count as CountTokens answers it."""
        method = (
            execute.TOKEN_COUNT_METHOD_EXACT if self.exact else execute.TOKEN_COUNT_METHOD_ESTIMATED
        )
        details = [
            pb.ModalityTokenCount(modality=kind, token_count=tokens)  # type: ignore[arg-type] # by number
            for kind, tokens in self.by_modality.items()
        ]
        return execute.CountTokensResponse(
            total_tokens=self.total, prompt_tokens_details=details, method=method, model=model
        )


class TokenCounter:
    """Counts requests by the tokenizer where there is one, else by rule of thumb."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        real_name: Callable[[str], str],
        generation: Callable[[str], float | None] = lambda _: None,
        clock: Clock | None = None,
    ) -> None:
        """Count texts by `tokenizer`.

        `real_name` gives the name behind a model's alias, `generation` what is known of a model's
        beside what its name says. `clock` times the slices in which large requests are counted.
        """
        self._clock = clock or SystemClock()
        self._tokenizer = tokenizer
        self._real_name = real_name
        self._generation = generation

    async def request(
        self,
        request: execute.ExecuteRequest | execute.CountTokensRequest,
        call: Call | None = None,
    ) -> TokenEstimate:
        """Count a request whose model is set; that of a large call in slices.

        Raises:
            DeadlinePassed: the call's deadline passed meanwhile.
        """
        generation = self.generation(request.model)
        if call is not None and call.large:
            async with Slices(call, self._clock) as slices:
                ledger = CountableParts(generation, request.generation_config.media_resolution)
                for _ in ledger.whole(request):
                    await slices.pause()
        else:
            await asyncio.sleep(0)  # it takes up to a millisecond: others come first
            ledger = ledger_of(request, generation)
        return await self._count(ledger)

    async def contents(self, contents: Sequence[pb.Content], generation: float = NEWEST) -> int:
        """Return about how many tokens turns have, exactly where they are text alone."""
        ledger = CountableParts(generation)
        ledger.contents(contents)
        return (await self._count(ledger)).total

    async def texts(self, texts: Sequence[str]) -> int:
        """Return how many tokens texts have, or about."""
        counted = await self._tokenizer.count(texts)
        return sum(map(ample_tokens_of, texts)) if counted is None else counted

    def generation(self, model: str) -> float:
        """Return the generation of a model, by any of its names."""
        told = self._generation(model)
        return generation_of(self._real_name(model)) if told is None else told

    async def _count(self, ledger: CountableParts) -> TokenEstimate:
        counted = await self._tokenizer.count(ledger.texts)
        characters = sum(map(len, ledger.texts))
        at_least = ledger.certain + -(-characters // LONGEST_TOKEN)
        if counted is not None and ledger.generation >= GEMMA_3:
            at_least = ledger.certain + counted
        texts = sum(map(ample_tokens_of, ledger.texts)) if counted is None else counted
        others = await self.texts(ledger.others) if ledger.others else 0
        tokens: dict[int, int] = {pb.MODALITY_TEXT: ledger.certain + texts + others}
        for kind, added in ledger.added.items():
            tokens[kind] = tokens.get(kind, 0) + added
        return TokenEstimate(
            tokens, exact=ledger.derivable and counted is not None, at_least=at_least
        )
