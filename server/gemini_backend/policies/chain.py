"""The chain as data: layers in their order, outermost first, and what each one reads and writes.

The rows themselves are in `composition/chain.py`. A layer is chosen by the kind of work, so what
wraps an RPC also wraps an item of a batch, or a call from another door, with the very same objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeVar, cast

from gemini_backend.call import Work
from gemini_backend.policies.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gemini_backend.policies.base import Policy

T = TypeVar("T")


class Scope(Enum):
    """Which kinds of work a layer wraps."""

    RPC = frozenset({Work.CALL, Work.ACT, Work.EXECUTION})
    REQUEST = frozenset({Work.CALL, Work.ACT, Work.EXECUTION, Work.ITEM})
    ACT = frozenset({Work.ACT})
    EXECUTION = frozenset({Work.EXECUTION, Work.ITEM})
    MODEL = frozenset({Work.EXECUTION, Work.ITEM, Work.EMBEDDING})

    def covers(self, work: Work) -> bool:
        """Return whether the layer wraps work of this kind."""
        return work in self.value


class Kind(Enum):
    """What a layer does with the rest of the call."""

    TRANSPORT = "knows the transport and is mounted by its door"
    HOOK = "runs the rest once: watches its start, first event, events and end, or refuses it"
    WRAPPER = "may replace the rest, repeat it, or run it apart"


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of the chain.

    Attributes:
        name: What configuration and health call it.
        scope: Which kinds of work it wraps.
        kind: Hook or wrapper; or a part of the transport.
        layer: The policy, or what the transport mounts; None where configuration leaves it out.
        reads: Fields that it reads: `call.x` and `request.x` come from further out, `outcome.x`
            and `answer.x` from further in.
        writes: Fields that it writes, for those further in or out in the same way.
        writes_alone: Fields that it writes only where it answers without those further in.
    """

    name: str
    scope: Scope
    kind: Kind
    layer: object | None
    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    writes_alone: frozenset[str] = frozenset()


def _row(kind: Kind) -> Callable[..., Layer]:
    def row(
        name: str,
        scope: Scope,
        layer: object | None,
        *,
        reads: str = "",
        writes: str = "",
        writes_alone: str = "",
    ) -> Layer:
        return Layer(
            name,
            scope,
            kind,
            layer,
            frozenset(reads.split()),
            frozenset(writes.split()),
            frozenset(writes_alone.split()),
        )

    return row


transport, hook, wrapper = _row(Kind.TRANSPORT), _row(Kind.HOOK), _row(Kind.WRAPPER)


class Chain:
    """Layers in their order, outermost first; it never changes."""

    def __init__(
        self, layers: Sequence[Layer], revision: Callable[[], object] | None = None
    ) -> None:
        """Take the rows, those that configuration leaves out included.

        `revision` gives another object when settings have changed, by which layers may be off.
        """
        self._layers = tuple(layers)
        self.revision = revision

    def __iter__(self) -> Iterator[Layer]:
        """Yield every row."""
        return iter(self._layers)

    def pipeline(self, work: Work) -> Pipeline:
        """Return the policies round work of a kind, without what knows the transport."""
        return Pipeline(
            *(
                cast("Policy", row.layer)
                for row in self._layers
                if row.layer is not None
                and row.kind is not Kind.TRANSPORT
                and row.scope.covers(work)
            ),
            revision=self.revision,
        )

    def find(self, kind: type[T]) -> T | None:
        """Return the layer of a class; None where configuration leaves it out."""
        return next((row.layer for row in self._layers if isinstance(row.layer, kind)), None)

    def get(self, kind: type[T]) -> T:
        """Return the layer of a class, which every configuration has.

        Raises:
            LookupError: it has none, which is a defect.
        """
        found = self.find(kind)
        if found is None:
            raise LookupError(f"the chain has no {kind.__name__}")
        return found
