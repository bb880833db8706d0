"""Runs PyPI's `llmock` on a free port. ARGUMENTS: SEED, then NAME=VALUE of its own settings."""

from __future__ import annotations

import os
import random
import socket
import sys

os.environ.update(argument.split("=", 1) for argument in sys.argv[2:])
random.seed(int(sys.argv[1]))  # what it draws its faults from

import uvicorn  # noqa: E402 - the settings are read when it is imported
from llmock.main import create_app  # noqa: E402

listening = socket.create_server(("127.0.0.1", 0))
print(f"ready http=127.0.0.1:{listening.getsockname()[1]}", flush=True)  # noqa: T201 - the ready line
server = uvicorn.Server(
    uvicorn.Config(create_app(), log_level="warning", timeout_graceful_shutdown=1)
)
server.run([listening])
