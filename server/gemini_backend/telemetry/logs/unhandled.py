"""Failures that nobody handled, logged by type and place: their words may quote anything."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any

from gemini_backend import masking

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

_log = logging.getLogger(__name__)


def facts_of(error: BaseException) -> dict[str, object]:
    """Return the type of an error and where it was raised; nothing of its message or of values."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error_type": type(error).__qualname__,
        "frames": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }


def log_unhandled(loop: asyncio.AbstractEventLoop) -> None:
    """Log what fails without anybody waiting for it: in tasks, callbacks, threads, finalizers.

    What ends the process itself is written with its message, secrets masked. Python's warnings are
    logged as well: printed, they would wait for a reader of standard error that stalls.
    """
    logging.captureWarnings(capture=True)
    loop.set_exception_handler(_in_loop)
    threading.excepthook = _in_thread
    sys.unraisablehook = _in_finalizer
    sys.excepthook = _at_the_end


def _in_loop(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _failed("event loop", context.get("exception"))


def _in_thread(args: threading.ExceptHookArgs) -> None:
    _failed("thread", args.exc_value)


def _in_finalizer(args: sys.UnraisableHookArgs) -> None:
    _failed("finalizer", args.exc_value)


def _failed(where: str, error: BaseException | None) -> None:
    facts = {} if error is None else facts_of(error)
    _log.error("unhandled failure", extra={"where": where, **facts})


def _at_the_end(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    sys.stderr.write(masking.text("".join(traceback.format_exception(kind, error, trace))))
