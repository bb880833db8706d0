"""Sources, their order, and what they refuse.

Covers: config/errors.py, config/sources.py, config/tls.py, config/tree.py, config/values.py
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gemini_backend.config import ConfigError, OriginKind, read
from tests.support.configs import load

if TYPE_CHECKING:
    from pathlib import Path


def _file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "backend.toml"
    file.write_text(text)
    return file


def _message(file: Path | None, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        read(file, environ)
    return str(caught.value)


def test_defaults_stand_alone() -> None:
    """Without any source the built-in values hold."""
    config = load(None, {})
    assert config.server.listen == "127.0.0.1:50051"
    assert config.execution.default_model == "gemini-flash-latest"
    assert config.upstream.gemini.api_keys == ()


def test_later_sources_outrank_earlier_ones(tmp_path: Path) -> None:
    """Options outrank the environment, which outranks the file, which outranks the defaults."""
    file = _file(
        tmp_path,
        '[server]\nlisten = "127.0.0.1:1"\nmax_message_mb = 2\ndrain_seconds = 3\n'
        "[upstream.gemini]\nmax_connections = 7\n",
    )
    environ = {
        "GEMINI_BACKEND_SERVER__LISTEN": "127.0.0.1:2",
        "GEMINI_BACKEND_SERVER__MAX_MESSAGE_MB": "5",
    }
    settings = read(file, environ, {"server.listen": "127.0.0.1:3"})
    server = settings.config.server
    assert server.listen == "127.0.0.1:3"
    assert server.max_message_mb == 5
    assert server.drain_seconds == 3.0
    assert settings.config.upstream.gemini.max_connections == 7
    kinds = {path: settings.given[path].origin.kind for path in settings.given}
    assert kinds["server.listen"] is OriginKind.COMMAND_LINE
    assert kinds["server.max_message_mb"] is OriginKind.ENVIRONMENT
    assert kinds["server.drain_seconds"] is OriginKind.FILE
    assert kinds["server.reflection"] is OriginKind.DEFAULT


def test_origin_names_its_source(tmp_path: Path) -> None:
    """An origin names the file or the variable that gave the value."""
    file = _file(tmp_path, "[web]\nenabled = false\n")
    given = read(file, {"GEMINI_BACKEND_LOGGING__LEVEL": "debug"}).given
    assert given["web.enabled"].origin.detail == str(file)
    assert given["logging.level"].origin.detail == "GEMINI_BACKEND_LOGGING__LEVEL"


def test_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    """GEMINI_BACKEND_CONFIG names the file where --config does not."""
    file = _file(tmp_path, "[server]\nmax_message_mb = 9\n")
    assert load(None, {"GEMINI_BACKEND_CONFIG": str(file)}).server.max_message_mb == 9


def test_keys_come_from_gemini_api_key() -> None:
    """GEMINI_API_KEY, separated by commas, is the default of the keys."""
    keys = load(None, {"GEMINI_API_KEY": "one, two,"}).upstream.gemini.api_keys
    assert [key.reveal() for key in keys] == ["one", "two"]


def test_own_variable_outranks_gemini_api_key() -> None:
    """The setting's own variable outranks GEMINI_API_KEY."""
    environ = {"GEMINI_API_KEY": "one", "GEMINI_BACKEND_UPSTREAM__GEMINI__API_KEYS": "two"}
    keys = load(None, environ).upstream.gemini.api_keys
    assert [key.reveal() for key in keys] == ["two"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"XDG_STATE_HOME": "/var/x", "HOME": "/home/a"}, "/var/x/gemini-backend"),
        ({"HOME": "/home/a"}, "/home/a/.local/state/gemini-backend"),
    ],
)
def test_state_dir_follows_xdg(environ: dict[str, str], expected: str) -> None:
    """State is kept below XDG_STATE_HOME, or else below the home."""
    assert load(None, environ).state.dir == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("true", True), ("1", True), ("False", False), ("0", False)],
)
def test_truth_in_variables(text: str, expected: bool) -> None:
    """A variable says true or false in words or by 1 and 0."""
    environ = {"GEMINI_BACKEND_SERVER__REFLECTION": text}
    assert load(None, environ).server.reflection is expected


def test_tables_in_variables_are_json() -> None:
    """A list of tables in a variable is JSON."""
    environ = {"GEMINI_BACKEND_CHAOS__RULES": '[{"fault": "cut", "probability": 0.5}]'}
    rules = load(None, environ).chaos.rules
    assert [(r.fault, r.probability, r.after_events) for r in rules] == [("cut", 0.5, 1)]


def test_interceptors_in_a_file(tmp_path: Path) -> None:
    """A layer of one's own has a name, a place and options."""
    file = _file(tmp_path, '[[interceptors]]\nname = "a"\nbefore = "cache"\noptions = {n = 1}\n')
    (layer,) = load(file, {}).interceptors
    assert (layer.name, layer.before, layer.options) == ("a", "cache", {"n": 1})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[server]\nlisen = "x"', ["server.lisen is not a setting", "did you mean server.listen?"]),
        ("[sever]\nlisten = 1", ["sever is not a setting", "did you mean server?"]),
        ("default_model = 'x'", ["default_model", "did you mean execution.default_model?"]),
        ("server = 3", ["server is a section", "[server]"]),
        ("[server]\nmax_message_mb = 'x'", ["'x' (a text)", "a whole number from 1 to 1024"]),
        ("[server]\nmax_message_mb = 0", ["0 (a whole number)", "from 1 to 1024"]),
        ("[server]\nreflection = 1", ["server.reflection is 1", "true or false"]),
        ("[server.listen]\na = 1", ["server.listen is a table", "must be a text"]),
        ("[execution]\nidle_timeout_seconds = nan", ["idle_timeout_seconds is nan", "a number"]),
        ("[execution]\nidle_timeout_seconds = inf", ["idle_timeout_seconds is inf", "to 86400"]),
        ("[logging]\nformat = 'xml'", ["logging.format is 'xml'", "one of json, text"]),
        ("[execution]\ndefault_model = 'a b'", ["execution.default_model", "matches"]),
        ("[execution]\nmax_deadline_seconds = 5", ["default_deadline_seconds is 300", "5 s"]),
        ("[server]\nlisten = '127.0.0.1'", ["server.listen is '127.0.0.1'", "HOST:PORT"]),
        ("[server]\nlisten = '::1:5'", ["server.listen", "[::1]:0"]),
        ("[server]\nlisten = 'a:70000'", ["server.listen", "65535"]),
        ("[server]\ntls_cert_file = 'a'", ["server.tls_key_file is empty"]),
        ("[server]\ntls_client_ca_file = 'a'", ["server.tls_cert_file"]),
        ("[upstream.gemini]\nbase_url = 'x'", ["upstream.gemini.base_url must be"]),
        ("[upstream.gemini]\nbase_url = 'http://h:x'", ["upstream.gemini.base_url must be"]),
        ("[upstream.gemini]\nbase_url = 'http://h/?key=s3cret'", ["base_url must be like"]),
        ("[upstream.gemini]\nprovider = 'x'", ["did you mean upstream.provider?"]),
        ("[[chaos.rules]]\nfault = 'x'", ["chaos.rules[0].fault"]),
        ("[[chaos.rules]]\nfalt = 'cut'", ["chaos.rules[0]", "falt"]),
        ("[[interceptors]]\nname = 'a'", ["'a' must have exactly one of before and after"]),
        ("a = = 1", ["is not valid TOML"]),
    ],
)
def test_wrong_files_are_refused_with_the_fix(tmp_path: Path, text: str, words: list[str]) -> None:
    """What is wrong is named by its path, with what it is and what it must be."""
    message = _message(_file(tmp_path, text), {})
    assert [word for word in words if word not in message] == [], message
    assert "\n" not in message


def test_all_problems_come_at_once(tmp_path: Path) -> None:
    """Every wrong value is named, not only the first."""
    file = _file(tmp_path, "[server]\nlisen = 1\nmax_message_mb = 0\n[web]\nenabled = 3\n")
    message = _message(file, {})
    assert all(name in message for name in ("server.lisen", "max_message_mb", "web.enabled"))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("GEMINI_BACKEND_SERVER__LISEN", "did you mean GEMINI_BACKEND_SERVER__LISTEN?"),
        ("GEMINI_BACKEND_SERVER_LISTEN", "did you mean GEMINI_BACKEND_SERVER__LISTEN?"),
        ("GEMINI_BACKEND_QQQ__ZZZ", "GEMINI_BACKEND_QQQ__ZZZ does not match a setting"),
    ],
)
def test_wrong_variables_are_refused(name: str, words: str) -> None:
    """A variable that names no setting, or nearly one, is refused."""
    assert words in _message(None, {name: "x"})


def test_other_variables_are_left_alone() -> None:
    """A variable with the prefix that is clearly somebody else's is not our concern."""
    assert load(None, {"GEMINI_BACKEND_TEST_DATA": "x"}) == load(None, {})


def test_wrong_variable_values_name_the_variable() -> None:
    """The message says which variable holds the wrong value."""
    message = _message(None, {"GEMINI_BACKEND_SERVER__MAX_MESSAGE_MB": "many"})
    assert message.startswith("GEMINI_BACKEND_SERVER__MAX_MESSAGE_MB: server.max_message_mb is")


def test_a_variable_that_is_not_utf_8_is_refused() -> None:
    """Bytes that are not Unicode are refused by the variable's name, and are not repeated."""
    for name in ("EXECUTION__DEFAULT_MODEL", "UPSTREAM__GEMINI__API_KEYS", "INTERCEPTORS"):
        variable = f"GEMINI_BACKEND_{name}"
        with pytest.raises(ConfigError, match=rf"{variable}: .* not valid UTF-8") as raised:
            load(None, {variable: "secret-\udcff\udcfe"})
        assert "secret" not in str(raised.value)


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    """A file that is not there is refused by name."""
    assert "cannot read configuration file" in _message(tmp_path / "none.toml", {})


def test_huge_file_is_refused(tmp_path: Path) -> None:
    """A file beyond 1 MiB is not read further."""
    file = tmp_path / "huge.toml"
    file.write_bytes(b"#" * 1_048_577)
    assert "larger than 1 MiB" in _message(file, {})


def test_unknown_option_is_refused() -> None:
    """An option that names no setting is refused with the nearest name."""
    with pytest.raises(ConfigError, match=r"did you mean server\.listen\?"):
        read(None, {}, {"server.lisen": "x"})


@pytest.mark.parametrize("key", ["", "a b", "ключ", "a\nb"])
def test_impossible_keys_are_refused_unseen(tmp_path: Path, key: str) -> None:
    """A key that no header can carry is refused, and the message does not show it."""
    file = _file(tmp_path, f"[upstream.gemini]\napi_keys = ['good', '''{key}''']\n")
    message = _message(file, {})
    assert "api_keys[1]" in message
    assert "good" not in message


def test_wrong_type_of_keys_is_refused_unseen(tmp_path: Path) -> None:
    """A key outside a list is refused, and the message does not show it."""
    message = _message(_file(tmp_path, "[upstream.gemini]\napi_keys = 's3cret'\n"), {})
    assert "upstream.gemini.api_keys" in message
    assert "s3cret" not in message


def test_a_key_in_a_wrong_setting_is_not_repeated() -> None:
    """An error quotes what is wrong, and masks it where it is the key."""
    key = "one-secret-key-in-the-wrong-place"
    for name in ("SERVER__LISTEN", "LOGGING__LEVEL", "UPSTREAM__GEMINI__KEY_PROJECTS"):
        with pytest.raises(ConfigError) as caught:
            read(None, {"GEMINI_API_KEY": key, f"GEMINI_BACKEND_{name}": f"{key}!"})
        assert key not in f"{caught.value} {caught.value.problems}"
        assert "[key]" in str(caught.value)
