"""Keys as they come out of secret files, env files and editors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.config import ConfigError, read

if TYPE_CHECKING:
    from pathlib import Path

KEY = "test-key-0123456789abcdef"
OWN = "GEMINI_BACKEND_UPSTREAM__GEMINI__API_KEYS"


def keys(environ: dict[str, str], file: Path | None = None) -> list[str]:
    """Return the keys that a server would use."""
    return [one.reveal() for one in read(file, environ).config.upstream.gemini.api_keys]


AROUND = [
    KEY,
    f"{KEY}\n",
    f"{KEY}\r\n",
    f"  {KEY}\t",
    f"\ufeff{KEY}\r\n",
    f"\xef\xbb\xbf{KEY}",
    f"\u200b{KEY}\u200b",
    f'"{KEY}"',
    f"'{KEY}'\n",
    f'\ufeff"{KEY} "\n',
    f"{KEY},,",
    f"\n{KEY}\n\n",
]


@pytest.mark.parametrize("text", AROUND)
@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", OWN])
def test_what_is_around_a_key_is_not_part_of_it(variable: str, text: str) -> None:
    """Byte order marks, blanks, line ends and quotes are removed."""
    assert [KEY] == keys({variable: text})


@pytest.mark.parametrize("between", [",", "\n", "\r\n", ",\n", " , ", "\n\n"])
@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", OWN])
def test_keys_are_separated_by_commas_or_line_ends(variable: str, between: str) -> None:
    """A file with one key per line is a list of keys."""
    assert [KEY, "second"] == keys({variable: f"{KEY}{between}second\n"})


@pytest.mark.parametrize("text", [KEY, f"{KEY}\\n", f"\\ufeff{KEY}\\r\\n", f" {KEY}"])
def test_keys_of_a_file_are_cleaned_as_well(tmp_path: Path, text: str) -> None:
    """What is around a key in a TOML file is removed, and so is the file's own byte order mark."""
    file = tmp_path / "backend.toml"
    file.write_text(f'\ufeff[upstream.gemini]\r\napi_keys = ["{text}"]\r\n', newline="")
    assert [KEY] == keys({}, file)


@pytest.mark.parametrize("text", ["two words", "kéy-0123456789", "abc\x00def", "a\tb"])
@pytest.mark.parametrize("variable", ["GEMINI_API_KEY", OWN])
def test_what_no_header_can_have_is_refused_and_not_shown(variable: str, text: str) -> None:
    """The error names the setting and the place, and has nothing of the key."""
    with pytest.raises(ConfigError, match=r"upstream\.gemini\.api_keys\[0\]") as refused:
        keys({variable: text})
    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["\n", "  ", "\ufeff", ",", '""'])
def test_a_blank_variable_is_refused(text: str) -> None:
    """Whoever gives a blank key file means a key: the simulator would answer in its place."""
    with pytest.raises(ConfigError, match="GEMINI_API_KEY is set and holds no key"):
        keys({"GEMINI_API_KEY": text})
    assert [] == keys({"GEMINI_API_KEY": ""})


def test_other_secrets_are_cleaned_as_well() -> None:
    """A proxy's address out of a file loses its line end."""
    given = {"GEMINI_BACKEND_UPSTREAM__GEMINI__PROXY_URL": "\ufeffhttp://proxy:3128\r\n"}
    assert "http://proxy:3128" == read(None, given).config.upstream.gemini.proxy_url.reveal()
