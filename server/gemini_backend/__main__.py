"""`python -m gemini_backend` is the command `gemini-backend`."""

from __future__ import annotations

import sys

from gemini_backend.cli import main

sys.exit(main())
