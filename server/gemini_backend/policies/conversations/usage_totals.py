"""What a session has used and cost, added up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.policies.outcome import add_cost, add_counts

if TYPE_CHECKING:
    from gemini.backend.v1.content_pb2 import Cost, Usage
    from gemini.backend.v1.session_service_pb2 import Session


def spend(session: Session, usage: Usage, cost: Cost | None) -> None:
    """Add what one execution used, and cost where that is known.

    The quality is the worst of all. Service tier and kind of traffic stand for one execution, and
    are left out.
    """
    add_counts(session.usage, usage)
    session.usage.quality = max(session.usage.quality, usage.quality)
    if cost is not None:
        add_cost(session.cost, cost)
