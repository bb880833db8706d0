"""The line of a call: what it says, and that nothing of a secret is in it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemini_backend import masking
from gemini_backend.config.sections.operation import LoggingOptions
from gemini_backend.telemetry.events import Bus, RpcFinished
from gemini_backend.telemetry.logs.access_log import AccessLog
from gemini_backend.telemetry.logs.log_writer import LogWriter

if TYPE_CHECKING:
    from typing import Any

SECRET = "a-secret-of-the-access-log"
PROCESS = "/gemini.backend.v1.ExecuteService/Process"
ENDED = RpcFinished("executions/1", PROCESS, "acme", "ann", "OK", "", 0.0123, "models/a", "a-001")
FROM_ELSEWHERE = ("method", "tenant", "principal", "reason", "model", "served_model", "request_id")


@dataclass
class Told:
    """A log, and what it has written."""

    form: Literal["json", "text"] = "json"

    def lines(self, *events: RpcFinished) -> list[str]:
        """Return the lines of calls."""
        out = io.StringIO()
        writer, bus = LogWriter(out, delay_seconds=0), Bus()
        AccessLog(LoggingOptions, writer, self.form).listen(bus)
        for event in events:
            bus.publish(event)
        assert writer.flush()
        return out.getvalue().splitlines()


def changed(**values: Any) -> RpcFinished:
    """Return the event of a call with other values."""
    return msgspec.structs.replace(ENDED, **values)


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("field", FROM_ELSEWHERE)
def test_secrets_are_masked_in_what_comes_from_elsewhere(
    form: Literal["json", "text"], field: str
) -> None:
    """Whoever puts a key into a name or an id does not find it in the log."""
    masking.remember([SECRET])
    for _ in range(2):  # the second time it is known
        (line,) = Told(form).lines(changed(**{field: f"x{SECRET}"}))
        assert (SECRET in line, "x[key]" in line) == (False, True)


def test_every_text_of_the_event_is_masked_or_made_here() -> None:
    """A text that is added to the event is added to the test above, or is one of the server's."""
    kinds = RpcFinished.__annotations__
    texts = {name for name in RpcFinished.__struct_fields__ if kinds[name] == "str"}
    made_here = {"execution", "code"}
    assert texts == made_here | set(FROM_ELSEWHERE)


@given(st.floats(0, 1e6))
def test_times_have_three_decimals(seconds: float) -> None:
    """They are those of the call in milliseconds, rounded."""
    (line,) = Told().lines(changed(seconds=seconds))
    told = json.loads(line)["duration_ms"]
    assert told == round(told, 3)
    assert abs(told - seconds * 1000) < 0.000_501
