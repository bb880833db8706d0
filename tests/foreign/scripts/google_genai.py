"""google-genai against the simulator: one JSON line for each check."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path

from google import genai
from google.genai import errors, types

MODEL = "gemini-3.5-flash"


def tell(check: str, **seen: object) -> None:
    """Print what a check has seen."""
    print(json.dumps({"check": check, **seen}), flush=True)  # noqa: T201 - this is what it is for


def get_weather(city: str, unit: str = "celsius") -> dict[str, str]:
    """Tell the weather of a city.

    Args:
        city: Which city.
        unit: The unit of the temperature.
    """
    return {"city": city, "sky": "clear", "unit": unit}


def generate(client: genai.Client) -> None:
    """Whole answers: plain, structured, with thoughts."""
    answer = client.models.generate_content(model=MODEL, contents="Write a haiku about rivers")
    usage = answer.usage_metadata
    used = usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    tell(
        "generate",
        lines=len(answer.text.splitlines()),
        finish=answer.candidates[0].finish_reason.name,
        adds_up=used == usage.total_token_count,
        model=answer.model_version,
    )
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    config = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_json_schema=schema,
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level="low"),
        system_instruction="Be brief",
        safety_settings=[
            types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE")
        ],
    )
    answer = client.models.generate_content(model=MODEL, contents="Bob is 42", config=config)
    parts = answer.candidates[0].content.parts
    tell("structured", value=json.loads(answer.text), thoughts=[bool(p.thought) for p in parts])


def stream(client: genai.Client) -> None:
    """Streams, and what is left of one that breaks."""
    chunks = list(client.models.generate_content_stream(model=MODEL, contents="Tell me of bees"))
    tell(
        "stream",
        chunks=len(chunks),
        text="".join(chunk.text or "" for chunk in chunks),
        finish=chunks[-1].candidates[0].finish_reason.name,
        total=chunks[-1].usage_metadata.total_token_count,
    )


def count(client: genai.Client) -> None:
    """Counts tokens."""
    tell("count", tokens=client.models.count_tokens(model=MODEL, contents="One two").total_tokens)


def chat(client: genai.Client) -> None:
    """A chat in which the client calls a function by itself, and goes on."""
    config = types.GenerateContentConfig(tools=[get_weather])
    talk = client.chats.create(model=MODEL, config=config)
    first = talk.send_message("What is the weather in Lisbon?")
    second = talk.send_message("Thank you")
    history = talk.get_history()
    calls = [p.function_call.name for c in history for p in c.parts if p.function_call]
    tell("chat", first=first.text, second=second.text, calls=calls, turns=len(history))


def upload(client: genai.Client) -> None:
    """A file: up, used, listed, down."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "note.txt"
        path.write_text("The quick brown fox")
        file = client.files.upload(file=str(path), config={"display_name": "note"})
    answer = client.models.generate_content(model=MODEL, contents=["Sum up", file])
    listed = [item.name for item in client.files.list()]
    client.files.delete(name=file.name)
    left = [item.name for item in client.files.list()]
    tell(
        "upload",
        size=file.size_bytes,
        mime=file.mime_type,
        state=file.state.name,
        answered=bool(answer.text),
        listed=file.name in listed,
        deleted=file.name not in left,
    )


def models(client: genai.Client) -> None:
    """The list of models, page by page, and one of them."""
    names = [model.name for model in client.models.list(config={"page_size": 5})]
    one = client.models.get(model=MODEL)
    tell("models", number=len(names), distinct=len(set(names)), limit=one.input_token_limit)


def embed(client: genai.Client) -> None:
    """Vectors."""
    config = types.EmbedContentConfig(output_dimensionality=128, task_type="RETRIEVAL_DOCUMENT")
    made = client.models.embed_content(
        model="gemini-embedding-001", contents=["one", "two", "three"], config=config
    )
    tell("embed", sizes=[len(item.values) for item in made.embeddings])


def refusals(client: genai.Client) -> None:
    """Errors arrive as the client's own."""
    seen = []
    for model, text in (
        ("no-such-model", "Hi"),
        (MODEL, "[[fault: rate_limit seconds=3.5]]"),
        (MODEL, "[[fault: overloaded]]"),
    ):
        try:
            client.models.generate_content(model=model, contents=text)
        except errors.APIError as error:
            seen.append([error.code, error.status])
    tell("refusals", seen=seen)


async def asynchronous(client: genai.Client) -> None:
    """The same on asyncio."""
    text = ""
    async for chunk in await client.aio.models.generate_content_stream(
        model=MODEL, contents="Tell me of bees"
    ):
        text += chunk.text or ""
    tell("asynchronous", text=text)


def main() -> None:
    """Run every check."""
    options = types.HttpOptions(base_url=os.environ["SIMULATOR_URL"])
    client = genai.Client(api_key="not-a-real-key", http_options=options)
    for check in (generate, stream, count, chat, upload, models, embed, refusals):
        check(client)
    asyncio.run(asynchronous(client))


if __name__ == "__main__":
    main()
