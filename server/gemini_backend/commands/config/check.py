"""`config check`: whether a server would start with this configuration."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from gemini_backend import masking
from gemini_backend.commands.certificate_checks import certificate_findings
from gemini_backend.commands.config.here import as_started, sources
from gemini_backend.commands.config.values import json_line
from gemini_backend.config import ConfigError
from gemini_backend.config.checks import check_exposure, check_keys
from gemini_backend.config.errors import Problem
from gemini_backend.identity.certificates import Certificates
from gemini_backend.models.catalogue import load
from gemini_backend.upstream.keys import has_stored_keys
from gemini_backend_client.commands.command_line import DONE, FAILED

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable

    from gemini_backend.config import Settings


def check(args: Namespace) -> int:
    """Print every problem of the configuration, and what is worth knowing; start nothing.

    Files that settings name are read. Ports and the way to Gemini are checked by `doctor`.

    Returns:
        0 if a server would start, 1 if not.
    """
    problems: list[Problem] = []
    notices: list[Problem] = []
    try:
        settings = sources(args)
    except ConfigError as error:
        problems.extend(error.problems)
    else:
        _check(settings, problems, notices)
    for kind, found in (("problem", problems), ("notice", notices)):
        for one in found:
            _report(kind, one, as_json=args.json)
    if not problems and not args.json:
        sys.stdout.write("the configuration is valid\n")
    return FAILED if problems else DONE


def _check(settings: Settings, problems: list[Problem], notices: list[Problem]) -> None:
    config = settings.config

    def overrides() -> None:
        for one in as_started(settings).left_out:
            words = f"an override on disk is not valid and would be left out: {one.message}"
            notices.append(Problem(one.path, words))

    checks: tuple[Callable[[], object], ...] = (
        lambda: check_keys(settings, stored=has_stored_keys(config.state.dir)),
        lambda: check_exposure(config),
        lambda: load(config.models.catalogue_file),
        lambda: Certificates(config.auth.mtls, time.time),
        overrides,
    )
    for one in checks:
        try:
            one()
        except ConfigError as error:
            problems.extend(error.problems)
    for found in certificate_findings(config, time.time()):
        if found.problem:
            problems.append(Problem(found.check, found.problem))
        if found.notice:
            notices.append(Problem(found.check, found.notice))


def _report(kind: str, one: Problem, *, as_json: bool) -> None:
    if as_json:
        told = {"kind": kind, "path": one.path, "message": one.message}
        sys.stdout.write(json_line(told))
    else:
        words = "" if kind == "problem" else "notice: "
        sys.stderr.write(masking.text(f"{words}{one.message}") + "\n")
