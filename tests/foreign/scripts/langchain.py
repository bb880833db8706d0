"""langchain-google-genai against the simulator: one JSON line for each check."""

from __future__ import annotations

import json
import os

from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_google_genai import ChatGoogleGenerativeAI, GoogleGenerativeAIEmbeddings
from pydantic import BaseModel

MODEL = "gemini-3.5-flash"


def tell(check: str, **seen: object) -> None:
    """Print what a check has seen."""
    print(json.dumps({"check": check, **seen}), flush=True)  # noqa: T201 - this is what it is for


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"clear in {city}"


def _text(message: object) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    return "".join(block.get("text", "") for block in content if isinstance(block, dict))


def main() -> None:
    """Run every check."""
    settings = {"google_api_key": "not-a-real-key", "base_url": os.environ["SIMULATOR_URL"]}
    chat = ChatGoogleGenerativeAI(model=MODEL, max_retries=1, **settings)
    answer = chat.invoke("Write a haiku about rivers")
    tell("generate", lines=len(_text(answer).splitlines()), usage=dict(answer.usage_metadata))

    chunks = list(chat.stream("Tell me of bees"))
    tell("stream", chunks=len(chunks), text="".join(_text(chunk) for chunk in chunks))

    bound = chat.bind_tools([get_weather])
    talk = [HumanMessage("What is the weather in Lisbon?")]
    asked = bound.invoke(talk)
    call = asked.tool_calls[0]
    result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
    told = bound.invoke([*talk, asked, result])
    tell("tools", name=call["name"], args=call["args"], text=_text(told))

    person = chat.with_structured_output(Person).invoke("Describe Bob, who is 42")
    tell("structured", value=person.model_dump())

    embeddings = GoogleGenerativeAIEmbeddings(model="models/gemini-embedding-001", **settings)
    vectors = embeddings.embed_documents(["one", "two"])
    tell("embed", sizes=[len(vector) for vector in vectors])


if __name__ == "__main__":
    main()
