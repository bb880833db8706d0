"""In what the contract differs from the types of google-genai, and why."""

from __future__ import annotations

from tests.support.messages.foreign_types import Tables

_CLIENT = "how that client connects, or what it does by itself; never sent"
_AT_VERTEX = "sources at Vertex AI, a tree of its own; goes by Tool.extra"
_ELSEWHERE = "another company's search, by a secret key for it; goes by Tool.extra"
_WORDS = "text, so that a new word needs no new contract"
_LIVE = "the Live API's name for what this API calls candidates; stays in Usage.extra"
_SCHEMA = "a schema is any JSON: a Struct, or its exact text"

RENAMED = {
    # these two are so on the wire as well
    "GenerateContentConfig.model_selection_config": "model_config",
    "GenerationConfig.model_selection_config": "model_config",
    "GenerateContentConfig.generation_output_config": "output_config",
    "GenerateContentResponse.usage_metadata": "usage",
    "EmbedContentResponse.usage_metadata": "usage",
    "MultiSpeakerVoiceConfig.speaker_voice_configs": "speaker_voices",
    "PartMediaResolution.level": "media_resolution",
    "PartMediaResolution.num_tokens": "media_resolution_tokens",
    "VoiceConfig.replicated_voice_config": "replicated_voice",
    "VoiceConfig.voice": "custom_voice",
}
FLAT = frozenset(
    {
        "EmbedContentResponse.metadata",
        "FunctionResponsePart.media_resolution",
        "Part.media_resolution",
        "RetrievalConfig.lat_lng",
        "SpeakerVoiceConfig.voice_config",
        "SpeechConfig.multi_speaker_voice_config",
        "SpeechConfig.voice_config",
        "VoiceConfig.prebuilt_voice_config",
    }
)
LEFT_OUT = {
    "CountTokensConfig.http_options": _CLIENT,
    "CountTokensResponse.sdk_http_response": _CLIENT,
    "EmbedContentConfig.http_options": _CLIENT,
    "EmbedContentResponse.sdk_http_response": _CLIENT,
    "GenerateContentConfig.automatic_continuation": "ExecuteRequest.continuation_mode says it here",
    "GenerateContentConfig.automatic_function_calling": _CLIENT,
    "GenerateContentConfig.http_options": _CLIENT,
    "GenerateContentConfig.should_return_http_response": _CLIENT,
    "GenerateContentResponse.automatic_function_calling_history": _CLIENT,
    "GenerateContentResponse.parsed": _CLIENT,
    "GenerateContentResponse.sdk_http_response": _CLIENT,
    "GoogleMaps.auth_config": "credentials at Vertex AI; goes by GoogleMaps.extra",
    "ImageConfig.output_compression_quality": "another way to set image_output_options",
    "ImageConfig.output_mime_type": "another way to set image_output_options",
    "Tool.exa_ai_search": _ELSEWHERE,
    "Tool.parallel_ai_search": _ELSEWHERE,
    "Tool.retrieval": _AT_VERTEX,
    "UsageMetadata.response_token_count": _LIVE,
    "UsageMetadata.response_tokens_details": _LIVE,
}
KINDS = {
    "EmbedContentConfig.task_type": "an enum with a _raw twin, where that client has words",
    "FunctionDeclaration.parameters": _SCHEMA,
    "FunctionDeclaration.response": _SCHEMA,
    "GenerateContentConfig.response_modalities": "an enum, where that client has words",
    "GenerateContentConfig.response_schema": _SCHEMA,
    "GenerateContentConfig.tools": "tools, where that client takes functions of Python as well",
    "GenerateContentConfig.top_k": "the API itself has whole numbers only",
    "GenerationConfig.response_schema": _SCHEMA,
    "GenerationConfig.top_k": "the API itself has whole numbers only",
    "GenerationConfigRoutingConfigAutoRoutingMode.model_routing_preference": _WORDS,
    "ImageResponseFormat.aspect_ratio": _WORDS,
    "ImageResponseFormat.image_size": _WORDS,
    "SearchEntryPoint.sdk_blob": "the text that Gemini sent, which only a page looks into",
    "VideoResponseFormat.aspect_ratio": _WORDS,
}
MESSAGES = Tables(renamed=RENAMED, flat=FLAT, left_out=LEFT_OUT, kinds=KINDS)

# a stream has the answer in pieces: what is beside the candidates stands in `started`, and the
# pieces of a candidate's content in the delta itself
_SHARED = ("FunctionResponsePart.", "Part.", "PartMediaResolution.", "SearchEntryPoint.")
_ANSWER = (*_SHARED, "GenerateContentResponse.")
STREAM = Tables(
    renamed={
        **{key: name for key, name in RENAMED.items() if key.startswith(_ANSWER)},
        "Candidate.index": "candidate_index",
    },
    flat=frozenset(
        {"Candidate.content", "GenerateContentResponse.candidates"}
        | {key for key in FLAT if key.startswith(_ANSWER)}
    ),
    left_out={key: why for key, why in LEFT_OUT.items() if key.startswith(_ANSWER)},
    kinds={key: why for key, why in KINDS.items() if key.startswith(_ANSWER)},
)

# Our messages in which the fields of each of their types are looked for; what else is compared
# is whatever these are made of.
PAIRS = {
    "Content": ("Content",),
    "GenerateContentConfig": ("ExecuteRequest", "GenerationConfig"),
    "GenerationConfig": ("GenerationConfig",),
    "Tool": ("Tool",),
    "GenerateContentResponse": ("ProcessResponse", "Started"),
    "CountTokensConfig": ("CountTokensRequest",),
    "CountTokensResponse": ("CountTokensResponse",),
    "EmbedContentConfig": ("EmbedRequest",),
    "EmbedContentResponse": ("EmbedResponse",),
}
STREAM_PAIRS = {"GenerateContentResponse": ("Started", "Delta")}
