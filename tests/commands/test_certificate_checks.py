"""What the doctor says of certificates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import trustme

from gemini_backend.commands.certificate_checks import certificate_findings
from gemini_backend.config import read

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def findings(**settings: str) -> list[tuple[str, str, str]]:
    """Return each check with its problem and notice."""
    environ = {f"GEMINI_BACKEND_{name}": value for name, value in settings.items()}
    return [tuple(one) for one in certificate_findings(read(None, environ).config, NOW.timestamp())]


def settings_for(folder: Path, *, days: float, mode: int = 0o600) -> dict[str, str]:
    """Write a certificate that is valid for so many more days, its key, and its authority."""
    authority = trustme.CA()
    issued: Any = authority.issue_cert(
        "localhost",
        common_name="it",
        not_before=NOW - timedelta(days=60),
        not_after=NOW + timedelta(days=days),
    )
    files = {name: folder / f"{name}.pem" for name in ("CERT", "KEY", "CLIENT_CA")}
    issued.cert_chain_pems[0].write_to_path(files["CERT"])
    issued.private_key_pem.write_to_path(files["KEY"])
    authority.cert_pem.write_to_path(files["CLIENT_CA"])
    files["KEY"].chmod(mode)
    return {f"SERVER__TLS_{name}_FILE": str(path) for name, path in files.items()}


def test_nothing_is_said_where_there_is_no_tls() -> None:
    """Without files there is nothing to check."""
    assert [] == findings()


def test_good_files_are_good(tmp_path: Path) -> None:
    """Each file has its check."""
    names = ["server.tls_cert_file", "server.tls_key_file", "server.tls_client_ca_file"]
    assert [(name, "", "") for name in names] == findings(**settings_for(tmp_path, days=60))


def test_an_expired_certificate_is_a_problem(tmp_path: Path) -> None:
    """It says since when, and what to do."""
    ((_, problem, _), *_) = findings(**settings_for(tmp_path, days=-2))
    assert problem.endswith("expired 2.0 days ago; renew it")


def test_a_certificate_that_expires_soon_is_worth_a_word(tmp_path: Path) -> None:
    """Within 30 days there is a notice, which fails nothing."""
    ((_, problem, notice), *_) = findings(**settings_for(tmp_path, days=5))
    assert ("", True) == (problem, notice.endswith("expires in 5.0 days; renew it"))


def test_a_key_that_others_may_read_is_worth_a_word(tmp_path: Path) -> None:
    """The mode is shown; that the group may read it is usual."""
    _, (_, problem, notice), _ = findings(**settings_for(tmp_path, days=60, mode=0o644))
    assert ("", True) == (problem, "open to others (mode 0644)" in notice)
    _, (_, _, usual), _ = findings(**settings_for(tmp_path, days=60, mode=0o640))
    assert "" == usual


def test_files_that_do_not_belong_together_are_a_problem(tmp_path: Path) -> None:
    """The key of another certificate, and an authority's file without one."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = settings_for(tmp_path / "a", days=60), settings_for(tmp_path / "b", days=60)
    name = "SERVER__TLS_KEY_FILE"
    found = findings(**{**one, name: other[name], "SERVER__TLS_CLIENT_CA_FILE": one[name]})
    assert ["server.tls_cert_file", "server.tls_client_ca_file"] == [check for check, *_ in found]
    assert ["belongs to another", "no certificates"] == [
        words
        for words, (_, problem, _) in zip(
            ("belongs to another", "no certificates"), found, strict=True
        )
        if words in problem
    ]


def test_one_valid_authority_is_enough(tmp_path: Path) -> None:
    """Files of authorities keep old ones; a problem is only one without any that is valid."""
    settings = settings_for(tmp_path, days=60)
    assert ("server.tls_client_ca_file", "", "") == findings(**settings)[-1]
