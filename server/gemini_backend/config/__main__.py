"""Prints docs/configuration.md: `python -m gemini_backend.config`."""

from __future__ import annotations

import sys

from gemini_backend.config.reference.page import render

if __name__ == "__main__":
    sys.stdout.write(render())
