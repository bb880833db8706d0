"""How events get from those who publish to those who listen.

Covers: telemetry/events/answers.py, telemetry/events/attempts.py, telemetry/events/event.py,
telemetry/events/executions.py, telemetry/events/rpcs.py, telemetry/events/sessions.py,
telemetry/events/upstream.py
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from gemini_backend.telemetry.events import (
    SILENT,
    Bus,
    ConnectionCondemned,
    HedgeStarted,
    HedgeWon,
)
from gemini_backend.telemetry.events.event import Event
from tests.support.messages.events import ended

if TYPE_CHECKING:
    from gemini_backend.telemetry.events import Publisher

STARTED, WON = HedgeStarted("e1", "models/a"), HedgeWon("e1", "models/a")


def test_an_event_is_heard_by_those_who_listen_to_its_type() -> None:
    """By each of them, in the order of subscription, and by nobody else."""
    bus, heard = Bus(), list[tuple[str, Event]]()
    bus.subscribe(HedgeStarted, lambda event: heard.append(("first", event)))
    bus.subscribe(HedgeStarted, lambda event: heard.append(("second", event)))
    bus.subscribe(HedgeWon, lambda event: heard.append(("third", event)))
    for event in (STARTED, WON, ConnectionCondemned()):
        bus.publish(event)
    assert [("first", STARTED), ("second", STARTED), ("third", WON)] == heard


def test_an_event_that_nobody_listens_to_need_not_be_made() -> None:
    """`heard` says so, for each type by itself."""
    bus = Bus()
    bus.subscribe(HedgeWon, lambda _: None)
    assert (True, False) == (bus.heard(HedgeWon), bus.heard(HedgeStarted))
    silent: Publisher = SILENT
    silent.publish(WON)
    assert silent.heard(HedgeWon) is False


def test_a_handler_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the publisher nor the other handlers learn of it; the log does, without values."""
    bus, heard = Bus(), list[Event]()

    def broken(_event: Event) -> None:
        raise ValueError("what the caller said")

    bus.subscribe(HedgeWon, broken)
    bus.subscribe(HedgeWon, heard.append)
    for _ in range(100):
        bus.publish(WON)
    assert [WON] * 100 == heard
    assert [("event_handler_failed", "HedgeWon", 1), ("event_handler_failed", "HedgeWon", 10)] == [
        (record.getMessage(), vars(record)["of"], vars(record)["failures"])
        for record in caplog.records[:2]
    ]
    assert 3 == len(caplog.records)
    assert logging.ERROR == caplog.records[0].levelno


def test_what_a_handler_publishes_is_heard_first() -> None:
    """Before the remaining handlers of the event that it handles."""
    bus, heard = Bus(), list[Event]()
    bus.subscribe(HedgeStarted, lambda _: bus.publish(WON))
    bus.subscribe(HedgeStarted, heard.append)
    bus.subscribe(HedgeWon, heard.append)
    bus.publish(STARTED)
    assert [WON, STARTED] == heard


def test_events_never_change() -> None:
    """Whoever keeps one keeps what has happened."""
    with pytest.raises(AttributeError):
        WON.model = "models/b"  # type: ignore[misc]
    assert WON == HedgeWon("e1", "models/a")


@pytest.mark.parametrize(
    ("code", "reason", "cancelled"),
    [("OK", "", False), ("CANCELLED", "", True), ("CANCELLED", "UPSTREAM_CANCELLED", False)],
)
def test_a_caller_who_left_is_no_failure(code: str, reason: str, cancelled: bool) -> None:
    """A failure has a reason, even one with the code CANCELLED."""
    assert cancelled is ended(code=code, reason=reason).cancelled
