"""The command: its actions, and their arguments."""

from __future__ import annotations

from argparse import SUPPRESS
from pathlib import Path
from typing import TYPE_CHECKING

from gemini_backend.commands.config.changes import history, rollback, set_values
from gemini_backend.commands.config.check import check
from gemini_backend.commands.config.diff import diff
from gemini_backend.commands.config.show import show
from gemini_backend_client.commands.command_line import add_connection_arguments, run_reported

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace, _SubParsersAction
    from collections.abc import Callable

    Actions = _SubParsersAction[ArgumentParser]

NAME = "gemini-backend config"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the actions; without one, the configuration is shown."""
    _for_show(parser)
    parser.set_defaults(act=show)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    shown = _action(
        actions,
        show,
        "show the effective configuration and the origin of each value (default)",
        "--changed",
    )
    _for_show(shown)
    checked = _action(
        actions,
        check,
        "check the configuration without starting; exit with 1 and name every problem",
        "--config gemini-backend.toml",
    )
    _add_config(checked)
    _add_json(checked, "each finding")
    _for_diff(actions)
    _for_changes(actions)
    for one in actions.choices.values():
        _inherit(one)


def run(args: Namespace) -> int:
    """Do as asked.

    Returns:
        0 when done, 1 when it failed or `check` found a problem, 2 for wrong use, 130 after Ctrl-C.
    """
    return run_reported(NAME, lambda: args.act(args))


def _action(
    actions: Actions,
    act: Callable[[Namespace], int],
    text: str,
    example: str,
    name: str = "",
) -> ArgumentParser:
    name = name or act.__name__
    parser = actions.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"example: {NAME} {name} {example}",
    )
    parser.set_defaults(act=act)
    return parser


def _inherit(action: ArgumentParser) -> None:
    """Let what is given before the action's name hold, where it is not given again after it."""
    for one in action._actions:  # noqa: SLF001 - there is no other way
        if one.dest in {"config", "changed", "json"}:
            one.default = SUPPRESS


def _for_show(parser: ArgumentParser) -> None:
    _add_config(parser)
    parser.add_argument(
        "--changed",
        action="store_true",
        help="show only values that differ from the built-in defaults",
    )
    _add_json(parser, "each value")


def _for_diff(actions: Actions) -> None:
    parser = _action(
        actions,
        diff,
        "compare a running server with file and environment of this machine, or two revisions",
        "--config gemini-backend.toml",
    )
    parser.add_argument(
        "revisions",
        nargs="*",
        type=int,
        metavar="REVISION",
        help="compare this revision with the one in effect, or with a second one",
    )
    _add_config(parser)
    _add_json(parser, "each difference")
    add_connection_arguments(parser)


def _for_changes(actions: Actions) -> None:
    change = _action(
        actions,
        set_values,
        "change live settings of a running server",
        'execution.idle_timeout_seconds=30 --comment "shorter silences"',
        name="set",
    )
    change.add_argument(
        "values",
        nargs="*",
        metavar="PATH=VALUE",
        help="new value; lists are separated by commas, lists of tables are JSON",
    )
    change.add_argument(
        "--reset",
        action="append",
        default=[],
        metavar="PATH",
        help="return a setting, or a section, to what file and environment say; may be repeated",
    )
    change.add_argument(
        "--validate-only", action="store_true", help="validate the change without making it"
    )
    _add_change(change)
    back = _action(
        actions,
        rollback,
        "restore the live settings of an earlier revision on a running server",
        "12",
    )
    back.add_argument("revision", type=int, metavar="REVISION", help="number of the revision")
    _add_change(back)
    past = _action(actions, history, "list the revisions of a running server", "--limit 20")
    past.add_argument(
        "--limit", type=int, default=20, metavar="N", help="number of revisions (default: 20)"
    )
    _add_json(past, "each revision")
    add_connection_arguments(past)


def _add_change(parser: ArgumentParser) -> None:
    parser.add_argument("--comment", default="", help="reason, for the history")
    parser.add_argument(
        "--etag", default="", help="fail if the configuration has another etag (see history --json)"
    )
    _add_json(parser, "the answer")
    add_connection_arguments(parser)


def _add_config(parser: ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file with settings")


def _add_json(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("--json", action="store_true", help=f"print {what} as one line of JSON")
