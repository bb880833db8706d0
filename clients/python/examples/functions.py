"""Let the model call functions of your own, turn by turn.

The model's turn goes back exactly as it came, `answer.content`: its parts carry signatures of the
model's thinking, and Gemini refuses the next turn without them.

Run: python functions.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend_client import Client, arguments, function, function_response, tool, user_turn

if TYPE_CHECKING:
    from gemini.backend.v1.content_pb2 import Content, FunctionCall

_TOOLS = [
    tool(
        function(
            "level_of",
            "The water level of a river today, in centimetres.",
            {
                "type": "object",
                "properties": {"river": {"type": "string", "description": "Its English name."}},
                "required": ["river"],
            },
        )
    )
]
_LEVELS = {"Danube": 412, "Rhine": 287}
_MOST_TURNS = 8


def _call(call: FunctionCall) -> dict[str, object]:
    river = arguments(call).get("river")
    level = _LEVELS.get(str(river))
    return {"error": f"no gauge on {river!r}"} if level is None else {"output": level}


def main() -> None:
    """Ask a question that needs the function."""
    conversation: list[Content] = [user_turn("Which is higher today, the Danube or the Rhine?")]
    with Client() as client:
        for _ in range(_MOST_TURNS):
            answer = client.process(conversation, tools=_TOOLS)
            if not answer.function_calls:
                print(answer.text)
                return
            results = [function_response(call, _call(call)) for call in answer.function_calls]
            conversation += [answer.content, user_turn(*results)]
    print(f"The model still asks for functions after {_MOST_TURNS} turns.")


if __name__ == "__main__":
    main()
