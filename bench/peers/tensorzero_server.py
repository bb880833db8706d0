"""Serves TensorZero's embedded gateway; runs in TensorZero's environment, with the config's path.

The package holds the gateway as a library, and the one way to serve it is a function for internal
use, which its patched OpenAI client calls as well.
"""

from __future__ import annotations

import signal
import sys
import urllib.parse

from tensorzero.tensorzero import _start_http_gateway


def main(config: str) -> None:
    """Serves on a free port of 127.0.0.1 until the process is ended."""
    gateway = _start_http_gateway(
        config_file=config,
        clickhouse_url=None,
        postgres_url=None,
        valkey_url=None,
        async_setup=False,
    )
    address = urllib.parse.urlsplit(gateway.base_url).netloc
    sys.stdout.write(f"ready http={address}\n")
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
