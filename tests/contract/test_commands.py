"""Every command explains itself.

Covers: cli.py
"""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from gemini_backend.cli import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterator


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser, and those of its own commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from parsers(own)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    """`--help` works for each command and each of its own, and names every option."""
    parser = argparse.ArgumentParser(name)
    import_module(COMMANDS[name][1]).add_arguments(parser)
    for one in parsers(parser):
        text = one.format_help()
        assert [] == [option for option in one._option_string_actions if option not in text]
