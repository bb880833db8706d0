"""Lists a page at a time."""

from __future__ import annotations

import pytest

from gemini.backend.v1.model_service_pb2 import ListModelsRequest
from gemini_backend.api.messages.pagination import page_of
from gemini_backend.errors import InvalidRequest

ITEMS = ["a", "b", "c", "d", "e"]


def _page(request: ListModelsRequest, items: list[str] = ITEMS) -> tuple[list[str], str]:
    page = page_of(items, str, request, default_size=2, max_size=3)
    return page.items, page.next_token


def test_pages_follow_each_other() -> None:
    """Page after page gives everything once, and the last one has no token."""
    first, token = _page(ListModelsRequest())
    second, token = _page(ListModelsRequest(page_token=token))
    third, token = _page(ListModelsRequest(page_token=token))
    assert (first, second, third, token) == (["a", "b"], ["c", "d"], ["e"], "")


def test_size_is_held_to_the_maximum() -> None:
    """A size beyond the maximum counts as the maximum, and may change between pages."""
    items, token = _page(ListModelsRequest(page_size=1000))
    assert items == ["a", "b", "c"]
    assert _page(ListModelsRequest(page_size=1, page_token=token))[0] == ["d"]


def test_what_comes_and_goes_disturbs_nothing() -> None:
    """An item that vanished or came between two pages makes no other one twice or missing."""
    _, token = _page(ListModelsRequest())
    items, _ = _page(ListModelsRequest(page_token=token), ["a", "aa", "c", "d", "e"])
    assert items == ["c", "d"]


@pytest.mark.parametrize("token", ["x", "AAAA", "AAAAAAAAAAAAAAAA", "%%%", "é"])
def test_foreign_tokens_are_refused(token: str) -> None:
    """A token that is none of ours is refused by its field."""
    with pytest.raises(InvalidRequest) as caught:
        _page(ListModelsRequest(page_token=token))
    assert [violation.field for violation in caught.value.violations] == ["page_token"]


def test_tokens_of_another_list_are_refused() -> None:
    """A token goes with the fields that it was given for."""
    _, token = _page(ListModelsRequest())
    with pytest.raises(InvalidRequest):
        _page(ListModelsRequest(page_token=token, include_deprecated=True))


def test_an_empty_list_has_one_empty_page() -> None:
    """Nothing is a page as well."""
    assert _page(ListModelsRequest(), []) == ([], "")
