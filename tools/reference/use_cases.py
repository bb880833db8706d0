"""Use cases as people describe them, and what each of them asks of `RecommendModel`."""

from __future__ import annotations

from typing import Any

# What it is, in a sentence or two; then the request in JSON.
DESCRIBED: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "A support chat",
        "Customers type and watch the answer appear. It must begin soon.",
        {
            "use_case": "USE_CASE_CHAT",
            "input_tokens": 3000,
            "output_tokens": 300,
            "max_first_token_latency": "1.5s",
        },
    ),
    (
        "Code review",
        "A pull request of some thousand lines is read, and problems are explained.",
        {"use_case": "USE_CASE_CODING", "input_tokens": 30000, "output_tokens": 2000},
    ),
    (
        "Planning a delivery route",
        "A hard puzzle in many steps; a minute more or a cent more does not matter.",
        {"use_case": "USE_CASE_REASONING", "preference": "RECOMMENDATION_PREFERENCE_QUALITY"},
    ),
    (
        "A digest of each day's tickets",
        "Hundreds of long tickets are summarized at night, for at most half a cent each.",
        {
            "use_case": "USE_CASE_SUMMARIZATION",
            "input_tokens": 8000,
            "output_tokens": 400,
            "max_cost_nano_usd": 5_000_000,
        },
    ),
    (
        "Figures out of scanned invoices",
        "PDFs go in, JSON by a schema comes out.",
        {
            "use_case": "USE_CASE_EXTRACTION",
            "input_modalities": ["MODALITY_DOCUMENT"],
            "input_tokens": 2500,
            "output_tokens": 600,
        },
    ),
    (
        "Sorting incoming mail",
        "One of twelve labels for each of a million mails a month.",
        {"use_case": "USE_CASE_CLASSIFICATION", "input_tokens": 700, "output_tokens": 10},
    ),
    (
        "Translating a user interface",
        "Short texts, where the tone matters.",
        {"use_case": "USE_CASE_TRANSLATION", "input_tokens": 400, "output_tokens": 400},
    ),
    (
        "A marketing campaign",
        "Some texts with an idea in them, which people choose from.",
        {"use_case": "USE_CASE_CREATIVE_WRITING", "output_tokens": 1500},
    ),
    (
        "An agent that books travel",
        "It calls tools over many turns, and each turn should take less than 5 s.",
        {
            "use_case": "USE_CASE_AGENT",
            "input_tokens": 12000,
            "output_tokens": 200,
            "max_latency": "5s",
        },
    ),
    (
        "Questions about a contract of 900 pages",
        "The whole contract is in each prompt. What a context cache will save is not counted.",
        {
            "use_case": "USE_CASE_LONG_CONTEXT",
            "capabilities": ["MODEL_CAPABILITY_CONTEXT_CACHING"],
            "input_tokens": 450000,
            "output_tokens": 800,
        },
    ),
    (
        "The same contract on a budget",
        "No question may cost more than fifteen cents.",
        {
            "use_case": "USE_CASE_LONG_CONTEXT",
            "input_tokens": 450000,
            "output_tokens": 800,
            "max_cost_nano_usd": 150_000_000,
        },
    ),
    (
        "Notes of recorded meetings",
        "An hour of sound goes in, minutes come out.",
        {
            "use_case": "USE_CASE_MULTIMODAL",
            "input_modalities": ["MODALITY_AUDIO"],
            "input_tokens": 115000,
            "output_tokens": 1500,
        },
    ),
    (
        "Tags for ten million products",
        "Very many small requests: the price decides.",
        {"use_case": "USE_CASE_HIGH_VOLUME", "input_tokens": 300, "output_tokens": 30},
    ),
    (
        "Search by meaning",
        "Vectors of paragraphs.",
        {"use_case": "USE_CASE_EMBEDDING", "input_tokens": 400},
    ),
    (
        "Pictures for a shop",
        "A picture of about 1,290 tokens for each description.",
        {"output_modalities": ["MODALITY_IMAGE"], "input_tokens": 200, "output_tokens": 1290},
    ),
    (
        "News with sources",
        "Answers are grounded in a search; previews are welcome.",
        {
            "capabilities": ["MODEL_CAPABILITY_SEARCH_GROUNDING"],
            "preference": "RECOMMENDATION_PREFERENCE_QUALITY",
            "include_preview": True,
        },
    ),
    (
        "A wish that cannot be met",
        "Reasoning for a hundredth of a cent: nothing is recommended, and each model says why.",
        {"use_case": "USE_CASE_REASONING", "max_cost_nano_usd": 100_000},
    ),
)
