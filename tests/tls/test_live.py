"""Certificates are taken over while the server runs, whole or not at all.

Covers: tls/material.py
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
import trustme

from gemini_backend.config.sections.server import ServerOptions
from gemini_backend.tls import LiveCertificates, Material, load
from tests.support.pki import START, issue, write

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.clock import FakeClock

CA = trustme.CA()


def subject(live: LiveCertificates) -> str:
    """Return the name in the certificate in use."""
    return live.current.chain[0].subject


@pytest.fixture
def live(tmp_path: Path, clock: FakeClock) -> LiveCertificates:
    """Certificates of a folder, the first of them in use."""
    options = ServerOptions(**write(tmp_path, issue(CA, name="first")))
    return LiveCertificates(options, clock, wall=START.timestamp)


async def test_files_that_stay_are_not_read_again(live: LiveCertificates) -> None:
    """What new connections use is the very same object as long as no file changes."""
    before = live.current
    assert (False, before) == (await live.look(), live.current)


async def test_a_new_pair_is_taken(
    live: LiveCertificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A changed certificate and key are in use from the next look on, and the log says so."""
    caplog.set_level(logging.INFO)
    write(tmp_path, issue(CA, name="second"))
    assert (True, True) == (await live.look(), "second" in subject(live))
    assert ["certificates_reloaded"] == [record.message for record in caplog.records]
    assert 0 < float(caplog.records[0].__dict__["expires_in_days"])


async def test_a_pair_that_does_not_fit_is_logged_once(
    live: LiveCertificates, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Between two writes the old pair stays in use; when both are there, they are taken."""
    second = issue(CA, name="second")
    (tmp_path / "server_key.pem").write_bytes(second.private_key_pem.bytes())
    assert [False, False] == [await live.look(), await live.look()]
    assert ["certificates_not_reloaded"] == [record.message for record in caplog.records]
    assert (True, True) == ("first" in subject(live), "another certificate" in live.problem)
    write(tmp_path, second)
    assert (True, "", True) == (await live.look(), live.problem, "second" in subject(live))


@pytest.mark.parametrize("broken", ["gone", "empty", "garbage", "a folder"])
async def test_files_of_no_use_leave_the_old_ones(
    live: LiveCertificates, tmp_path: Path, broken: str
) -> None:
    """A file that is missing, empty, none, or a folder: the old pair stays."""
    cert = tmp_path / "server.pem"
    cert.unlink()
    if broken == "a folder":
        cert.mkdir()
    elif broken != "gone":
        cert.write_text("no certificate" if broken == "garbage" else "")
    assert (False, True, True) == (await live.look(), "first" in subject(live), bool(live.problem))


async def test_links_are_followed(tmp_path: Path, clock: FakeClock) -> None:
    """Kubernetes swaps one link to a folder with all files: both are taken together."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, issue(CA, name=name))
    data = tmp_path / "data"
    data.symlink_to("one")
    for name in ("server.pem", "server_key.pem"):
        (tmp_path / name).symlink_to(f"data/{name}")
    options = ServerOptions(
        tls_cert_file=str(tmp_path / "server.pem"), tls_key_file=str(tmp_path / "server_key.pem")
    )
    live = LiveCertificates(options, clock)
    (tmp_path / "next").symlink_to("two")
    os.replace(tmp_path / "next", data)  # noqa: PTH105 - as Kubernetes does it
    assert (True, True) == (await live.look(), "two" in subject(live))


async def test_new_authorities_of_clients_are_taken(tmp_path: Path, clock: FakeClock) -> None:
    """The authorities of clients' certificates are replaced, not added to."""
    authority = tmp_path / "ca.pem"
    trustme.CA(organization_name="old").cert_pem.write_to_path(authority)
    files = write(tmp_path, issue(CA))
    live = LiveCertificates(ServerOptions(**files, tls_client_ca_file=str(authority)), clock)
    context = live.current.context
    new = trustme.CA(organization_name="new")
    authority.write_bytes(new.cert_pem.bytes())
    assert await live.look()
    assert [True] == ["new" in one.subject for one in live.current.authorities]
    assert new.cert_pem.bytes() == live.current.ca_pem
    assert (1, True) == (len(live.current.context.get_ca_certs()), context != live.current.context)


async def test_a_look_that_was_asked_for_reads_all_again(
    live: LiveCertificates, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGHUP reads the files whether or not they have changed, and the log says what came of it."""
    caplog.set_level(logging.INFO)
    before = live.current
    assert await live.look(asked=True)
    assert before is not live.current
    assert ["certificates_reloaded"] == [record.message for record in caplog.records]


def test_files_that_change_while_they_are_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is written between two reads is not mixed with what was read before."""
    options = ServerOptions(**write(tmp_path, issue(CA)))

    def changing(cert: Path, key: Path) -> list[object]:
        os.utime(key, ns=(1, 1))
        return [cert]

    monkeypatch.setattr("gemini_backend.tls.material.chain_of", changing)
    with pytest.raises(OSError, match="changed while they were read"):
        load(options)


def test_no_key_is_in_what_is_printed(tmp_path: Path) -> None:
    """What holds the private key does not show it."""
    made: Material = load(ServerOptions(**write(tmp_path, issue(CA))))
    assert "PRIVATE" not in repr(made)
