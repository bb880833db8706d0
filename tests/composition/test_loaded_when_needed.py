"""What is off is not loaded."""

from __future__ import annotations

import sys

from tests.support.servers.process import run_command


async def test_libraries_of_identity_are_loaded_when_a_method_needs_them() -> None:
    """A server without tokens and certificates loads neither PyJWT nor X.509."""
    code = (
        "import sys, gemini_backend.app; "
        "print([name for name in ('jwt', 'cryptography.x509') if name in sys.modules])"
    )
    done = await run_command(sys.executable, "-c", code)
    assert (0, "[]\n") == (done.code, done.stdout), done
