"""Secrets stay secret."""

from __future__ import annotations

import copy
import json
import pickle

import msgspec
import pytest

from gemini_backend.config import MASK, Secret
from tests.support.configs import load

KEY = "AIza-not-a-real-key"


def test_no_text_of_it_shows_it() -> None:
    """Whichever way a secret is made a text, the mask comes out."""
    secret = Secret(KEY)
    texts = [str(secret), repr(secret), f"{secret}", f"{secret!r}", f"{secret:>12}", repr([secret])]
    assert [text for text in texts if KEY in text or MASK not in text] == []


def test_tree_does_not_show_it() -> None:
    """The text of a whole tree holds no key."""
    config = load(None, {"GEMINI_API_KEY": KEY})
    assert KEY not in repr(config)
    assert config.upstream.gemini.api_keys[0].reveal() == KEY


def test_it_cannot_be_serialised() -> None:
    """What would write a secret out fails instead."""
    secret = Secret(KEY)
    for write in (pickle.dumps, copy.deepcopy, json.dumps, msgspec.json.encode):
        with pytest.raises(TypeError):
            write(secret)


def test_equal_texts_are_equal_secrets() -> None:
    """Secrets compare by what they hide, and with nothing else."""
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
