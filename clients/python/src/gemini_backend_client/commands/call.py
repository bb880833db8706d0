"""The command that asks the server and prints its answer as it streams."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToJson

from gemini.backend.v1.content_pb2 import Content, GenerationConfig, UsageQuality
from gemini_backend_client.calls import session_name
from gemini_backend_client.commands.command_line import (
    UsageError,
    add_connection_arguments,
    client_from,
    run_reported,
)
from gemini_backend_client.errors import ConflictError, NotFoundError
from gemini_backend_client.messages import text_of, user_turn

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from gemini.backend.v1.execute_service_pb2 import ExecuteResponse
    from gemini_backend_client.calls import Execution
    from gemini_backend_client.client import Client

__all__ = ["add_arguments", "run"]

_NANO = 1e9


def add_arguments(parser: ArgumentParser) -> None:
    """Add the command's arguments to `parser`."""
    parser.add_argument("prompt", help="the prompt; - reads it from standard input")
    parser.add_argument("--model", default="", help="the model (default: the server's default)")
    parser.add_argument("--system", metavar="TEXT", help="system instruction for the model")
    parser.add_argument(
        "--file",
        metavar="PATH",
        action="append",
        default=[],
        help="attach a file; its media type is derived from its name; may be repeated",
    )
    parser.add_argument(
        "--session",
        metavar="ID",
        help="send the prompt in this session, which is created if it does not exist",
    )
    parser.add_argument("--temperature", type=float, help="randomness, 0 to 2")
    parser.add_argument(
        "--max-output-tokens", metavar="N", type=int, help="maximum number of answer tokens"
    )
    parser.add_argument(
        "--thoughts", action="store_true", help="print a summary of the thinking to standard error"
    )
    parser.add_argument(
        "--json", action="store_true", help="print every event as one line of JSON instead"
    )
    add_connection_arguments(parser)


def run(args: Namespace) -> int:
    """Ask, and print the answer on stdout as it streams, what it used on stderr.

    Returns:
        0 when the answer is whole, 1 when it failed or nobody reads stdout any more, 2 for wrong
        use, 130 after Ctrl-C. An answer that is not read to its end is cancelled at the server.
    """
    return run_reported("gemini-backend call", lambda: _call(args))


def _call(args: Namespace) -> None:
    content = _content(args)
    fields: dict[str, Any] = {"generation_config": _generation_config(args), "model": args.model}
    if args.system:
        fields["system_instruction"] = args.system
    started = time.monotonic()
    with client_from(args) as client:
        if args.session:
            fields["session"] = _session(client, args.session)
        _ask(args, client.execute(content, **fields), started)


def _session(client: Client, name: str) -> str:
    """Return the name of a session that is there, made now if it was not."""
    try:
        return client.sessions.get(name).name
    except NotFoundError:
        with suppress(ConflictError):  # somebody else has just made it
            client.sessions.create(name.removeprefix("sessions/"))
        return session_name(name)


def _ask(args: Namespace, started_execution: Execution, started: float) -> None:
    with started_execution as execution:
        if args.json:
            _print_events(execution)
            return
        first_token = _print_answer(execution, started)
        sys.stderr.write(_usage_line(execution, first_token, time.monotonic() - started) + "\n")


def _content(args: Namespace) -> str | list[Content]:
    """Return the prompt, with files before it as Gemini's documentation advises.

    Raises:
        UsageError: when there is nothing to say, or a file cannot be sent.
    """
    try:
        prompt: str = sys.stdin.read() if args.prompt == "-" else args.prompt
        prompt.encode()
    except UnicodeError as error:
        msg = "the prompt is not UTF-8: convert it first, e.g. with iconv"
        raise UsageError(msg) from error
    if not prompt.strip():
        msg = "the prompt is empty: give one, or pipe it in with -"
        raise UsageError(msg)
    if not args.file:
        return prompt
    try:
        return [user_turn(*(Path(path) for path in args.file), prompt)]
    except OSError as error:
        msg = f"cannot read {error.filename}: {error.strerror}"
        raise UsageError(msg) from error
    except ValueError as error:
        msg = f"{error} by giving the file a name with a known extension"
        raise UsageError(msg) from error


def _generation_config(args: Namespace) -> GenerationConfig:
    config = GenerationConfig()
    if args.temperature is not None:
        config.temperature = args.temperature
    if args.max_output_tokens is not None:
        config.max_output_tokens = args.max_output_tokens
    if args.thoughts:
        config.thinking_config.include_thoughts = True
    return config


def _print_events(execution: Execution) -> None:
    for event in execution.events():
        line = MessageToJson(event, preserving_proto_field_name=True, indent=None)
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def _print_answer(execution: Execution, started: float) -> float | None:
    """Print the answer; return the seconds from `started` to its first piece, None without any."""
    first_token = None
    open_line = False
    try:
        for event in execution.events():
            if first_token is None and event.HasField("delta"):
                first_token = time.monotonic() - started
            open_line = _print_piece(event) or open_line
    finally:
        if open_line:
            sys.stdout.write("\n")
            sys.stdout.flush()
    return first_token


def _print_piece(event: ExecuteResponse) -> bool:
    """Print what an event adds, what is no answer on stderr; return whether it added to that."""
    for warning in (*event.started.warnings, *event.completed.warnings):
        sys.stderr.write(f"warning: {warning.message} [{warning.code}]\n")
    if not event.HasField("delta") or event.delta.candidate_index:
        return False
    if thoughts := text_of(event.delta, thought=True):
        sys.stderr.write(thoughts)
        sys.stderr.flush()
    text = text_of(event.delta, thought=False)
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
    return bool(text)


def _usage_line(execution: Execution, first_token: float | None, total: float) -> str:
    """Return what the execution used, in one line: model, tokens, times, cost."""
    answer = execution.answer()
    usage, cost = answer.usage, answer.cost
    served = execution.started.served_model if execution.started else ""
    about = "about " if usage.quality == UsageQuality.USAGE_QUALITY_ESTIMATED else ""
    facts = [
        served.removeprefix("models/") or "unknown model",
        (
            f"tokens: {about}{usage.prompt_token_count} prompt, "
            f"{usage.candidates_token_count} answer, {usage.thoughts_token_count} thoughts"
        ),
    ]
    if first_token is not None:
        facts.append(f"first token {first_token:.2f} s")
    facts.append(f"total {total:.2f} s")
    if cost is not None:
        facts.append(f"${cost.cost_nano_usd / _NANO:.6f}")
        if cost.saved_nano_usd:
            facts.append(f"saved ${cost.saved_nano_usd / _NANO:.6f}")
    if answer.response.continuations:
        facts.append(f"{answer.response.continuations} continuations")
    if answer.finish_reason not in {"", "STOP"}:
        facts.append(f"stopped: {answer.finish_reason}")
    return " | ".join(facts)
