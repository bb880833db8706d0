"""google-generativeai, which Google gave up in 2025, over REST against the simulator."""

from __future__ import annotations

import json
import os
import warnings

warnings.simplefilter("ignore")

import google.generativeai as genai  # noqa: E402 - it warns of its own end when imported

MODEL = "gemini-2.5-flash"


def tell(check: str, **seen: object) -> None:
    """Print what a check has seen."""
    print(json.dumps({"check": check, **seen}), flush=True)  # noqa: T201 - this is what it is for


def get_weather(city: str) -> dict[str, str]:
    """Tell the weather of a city."""
    return {"city": city, "sky": "clear"}


def main() -> None:
    """Run every check."""
    genai.configure(
        api_key="not-a-real-key",
        transport="rest",
        client_options={"api_endpoint": os.environ["SIMULATOR_URL"]},
    )
    model = genai.GenerativeModel(MODEL)
    answer = model.generate_content("Write a haiku about rivers")
    tell("generate", lines=len(answer.text.splitlines()), finish=answer.candidates[0].finish_reason)
    chunks = list(model.generate_content("Tell me of bees", stream=True))
    tell("stream", chunks=len(chunks), text="".join(chunk.text for chunk in chunks))
    tell("count", tokens=model.count_tokens("One two").total_tokens)
    caller = genai.GenerativeModel(MODEL, tools=[get_weather])
    chat = caller.start_chat(enable_automatic_function_calling=True)
    tell("chat", text=chat.send_message("What is the weather in Lisbon?").text)
    tell("models", number=len(list(genai.list_models(page_size=5))))
    made = genai.embed_content("models/gemini-embedding-001", ["one", "two"])
    tell("embed", sizes=[len(vector) for vector in made["embedding"]])


if __name__ == "__main__":
    main()
