"""What is kept of an answer as a turn."""

from __future__ import annotations

from gemini.backend.v1 import content_pb2 as content
from gemini.backend.v1 import execute_service_pb2 as pb
from gemini_backend.policies.conversations.conversation import turn_of
from gemini_backend.processing.answers.extras import put_text


def test_a_turn_says_everything_once() -> None:
    """What Gemini named twice is kept once, so that the next turn can be sent."""
    call = content.Part(function_call=content.FunctionCall(name="f", args_json="{}"))
    put_text(call.function_call, '{"args":[1],"new":1.0}')
    put_text(call, '{"function_call":{"name":"g"},"thought_signature":"BBBB"}')
    text = content.Part(text="a", thought_signature=b"s")
    put_text(text, '{"thought_signature":"BBBB","thoughtSignature":"CCCC"}')
    answer = content.Candidate(content=content.Content(parts=[call, text]))
    put_text(answer.content, '{"role":5,"new":1}')
    output = turn_of(pb.ExecuteRequest(prompt="hi"), [answer], 1, 0.0)[0].output
    assert (output.role, output.extra_json) == ("model", '{"new":1}')
    assert output.parts[0].extra_json == '{"thought_signature":"BBBB"}'
    assert output.parts[0].function_call.extra_json == '{"new":1.0}'
    assert not output.parts[1].extra_json
    assert not output.parts[1].HasField("extra")
