"""Clients that others wrote, unmodified, each in its own environment, against the simulator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.foreign.conftest import Seen

# The first one of each builds its environment.
pytestmark = [pytest.mark.timeout(900), pytest.mark.xdist_group("foreign")]

GOOGLE = ["google-genai-3", "google-genai-2"]
ALL = [*GOOGLE, "google-generativeai", "langchain", "node"]
MODELS = 15


def _weather(text: str) -> bool:
    return text.startswith("According to the tools, get_weather returned")


@pytest.mark.parametrize("client", ALL)
def test_a_whole_answer(seen_by: Callable[[str], Seen], client: str) -> None:
    """A haiku has three lines in every client."""
    assert seen_by(client)["generate"]["lines"] == 3


@pytest.mark.parametrize("client", ALL)
def test_a_stream(seen_by: Callable[[str], Seen], client: str) -> None:
    """A stream comes in several chunks, and its text is whole."""
    seen = seen_by(client)["stream"]
    assert seen["chunks"] > 3
    assert "Tell me of bees" in seen["text"]
    assert seen["text"].endswith((".", "!", "?"))


@pytest.mark.parametrize("client", GOOGLE)
def test_usage_and_finish_reason(seen_by: Callable[[str], Seen], client: str) -> None:
    """Usage adds up, the finish reason and the model that served are read."""
    seen = seen_by(client)
    assert seen["generate"]["finish"] == "STOP"
    assert seen["generate"]["adds_up"]
    assert seen["generate"]["model"] == "gemini-3.5-flash"
    assert seen["stream"]["finish"] == "STOP"
    assert seen["asynchronous"]["text"] == seen["stream"]["text"]


@pytest.mark.parametrize("client", GOOGLE)
def test_json_by_schema_with_thoughts(seen_by: Callable[[str], Seen], client: str) -> None:
    """A structured answer fits its schema; thoughts come first and are marked."""
    seen = seen_by(client)["structured"]
    assert set(seen["value"]) == {"name", "age"}
    assert seen["value"]["age"] == 42
    assert seen["thoughts"] == [True, False]


@pytest.mark.parametrize("client", [c for c in ALL if c != "langchain"])
def test_counting(seen_by: Callable[[str], Seen], client: str) -> None:
    """Two words and a turn are three tokens."""
    assert seen_by(client)["count"]["tokens"] == 3


@pytest.mark.parametrize("client", GOOGLE)
def test_automatic_function_calling(seen_by: Callable[[str], Seen], client: str) -> None:
    """The client calls the function, sends its result with the signature, and gets a text."""
    seen = seen_by(client)["chat"]
    assert seen["calls"] == ["get_weather"]
    assert _weather(seen["first"])
    assert "Lisbon" in seen["first"]
    assert "Earlier you said" in seen["second"]
    assert seen["turns"] == 6


@pytest.mark.parametrize(("client", "check"), [("node", "chat"), ("langchain", "tools")])
def test_function_calling_by_hand(seen_by: Callable[[str], Seen], client: str, check: str) -> None:
    """Call, result, answer: the signature goes back as it came."""
    seen = seen_by(client)[check]
    assert seen["name"] == "get_weather"
    assert seen["args"] == {"city": "Lisbon"}
    assert _weather(seen["text"])


def test_function_calling_of_old(seen_by: Callable[[str], Seen]) -> None:
    """The client of before 2025 calls functions too."""
    assert _weather(seen_by("google-generativeai")["chat"]["text"])


@pytest.mark.parametrize("client", [*GOOGLE, "node"])
def test_files(seen_by: Callable[[str], Seen], client: str) -> None:
    """A file goes up by the resumable protocol, is used, and can be deleted."""
    seen = seen_by(client)["upload"]
    assert int(seen["size"]) == 19
    assert seen["state"] == "ACTIVE"
    assert seen["answered"]
    assert seen.get("listed", True)
    assert seen.get("deleted", True)


@pytest.mark.parametrize("client", [c for c in ALL if c != "langchain"])
def test_models_page_by_page(seen_by: Callable[[str], Seen], client: str) -> None:
    """Every model is listed once, however small the pages."""
    seen = seen_by(client)["models"]
    assert seen["number"] >= MODELS
    assert seen.get("distinct", seen["number"]) == seen["number"]


@pytest.mark.parametrize(
    ("client", "sizes"),
    [
        ("google-genai-3", [128] * 3),
        ("google-genai-2", [128] * 3),
        ("node", [128] * 3),
        ("langchain", [3072] * 2),
        ("google-generativeai", [3072] * 2),
    ],
)
def test_embeddings(seen_by: Callable[[str], Seen], client: str, sizes: list[int]) -> None:
    """Texts become vectors of the size asked for."""
    assert seen_by(client)["embed"]["sizes"] == sizes


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (
            "google-genai-3",
            [[404, "NOT_FOUND"], [429, "RESOURCE_EXHAUSTED"], [503, "UNAVAILABLE"]],
        ),
        (
            "google-genai-2",
            [[404, "NOT_FOUND"], [429, "RESOURCE_EXHAUSTED"], [503, "UNAVAILABLE"]],
        ),
        ("node", [404, 400]),
    ],
)
def test_refusals(seen_by: Callable[[str], Seen], client: str, expected: list[Any]) -> None:
    """Errors arrive as the client's own, with code and status."""
    assert seen_by(client)["refusals"]["seen"] == expected


def test_structured_output_of_langchain(seen_by: Callable[[str], Seen]) -> None:
    """A pydantic model is filled in."""
    assert seen_by("langchain")["structured"]["value"] == {"name": "Bob", "age": 42}
