"""Any usage that a message can hold, however absurd."""

from __future__ import annotations

from hypothesis import strategies as st

from gemini.backend.v1 import content_pb2 as pb

ANY_COUNT = st.none() | st.integers(-(2**31), 2**31 - 1) | st.integers(-5, 300_000)
DETAILS = st.lists(
    st.builds(
        pb.ModalityTokenCount,
        modality=st.none() | st.integers(0, 9),
        modality_raw=st.sampled_from(["", "Image", "AUDIO", "novel"]),
        token_count=ANY_COUNT,
    ),
    max_size=4,
)
USAGES = st.builds(
    pb.Usage,
    prompt_token_count=ANY_COUNT,
    cached_content_token_count=ANY_COUNT,
    candidates_token_count=ANY_COUNT,
    thoughts_token_count=ANY_COUNT,
    tool_use_prompt_token_count=ANY_COUNT,
    total_token_count=ANY_COUNT,
    prompt_tokens_details=DETAILS,
    cache_tokens_details=DETAILS,
    candidates_tokens_details=DETAILS,
    tool_use_prompt_tokens_details=DETAILS,
)
