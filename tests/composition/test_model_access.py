"""What a running server reads again of keys, when it is asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gemini_backend.composition.parts import parts_of
from gemini_backend.config import read
from gemini_backend.upstream.factory import make
from tests.support.clock import FakeClock
from tests.support.composed import made_parts

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from gemini_backend.composition.parts import Parts

STATE = "GEMINI_BACKEND_STATE__DIR"
FILE = "GEMINI_BACKEND_UPSTREAM__GEMINI__API_KEYS_FILE"


async def parts_with(**environ: str) -> Parts:
    """Return the parts of a server in front of Gemini."""
    settings = read(None, environ)
    return parts_of(settings, await make(settings.config), FakeClock())


def written(file: Path, text: str) -> str:
    """Write a file for this user only."""
    file.write_text(text)
    file.chmod(0o600)
    return str(file)


async def test_keys_of_a_file_reach_the_pool(tmp_path: Path) -> None:
    """At the start; health and status count them."""
    file = written(tmp_path / "keys", "key-file-1\n")
    parts = await parts_with(**{STATE: str(tmp_path / "state"), FILE: file})
    access = parts.access
    await access.load_keys()
    first = access.keys.take("m")
    assert (1, ["upstream_keys"]) == (
        access.key_count(),
        [one().name for one in access.components()],
    )
    access.keys.give_back(first)
    await access.aclose()


async def test_a_keyring_that_cannot_be_read_again_stays_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says why, and nothing else stops."""
    parts = await parts_with(**{STATE: str(tmp_path), "GEMINI_API_KEY": "key-conf-1"})
    key = parts.base.keyring.key("audit")
    (tmp_path / "keyring.json").write_text("{")
    await parts.access.read_keys_again()
    assert key == parts.base.keyring.key("audit")
    (record,) = [one for one in caplog.records if one.message == "keyring_not_reopened"]
    assert "restore it from a backup" in vars(record)["reason"]
    await parts.access.aclose()


async def test_an_upstream_without_such_keys_reads_no_source() -> None:
    """As the simulator: it has its own key, and none is counted."""
    parts = made_parts()
    await parts.access.load_keys()
    await parts.access.follow_keys()
    assert (0, []) == (parts.access.key_count(), parts.access.components())
    await parts.aclose()
