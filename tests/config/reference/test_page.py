"""The catalogue and its page.

Covers: config/about.py, config/reference/catalogue.py, config/sections/answers.py,
config/sections/embed.py, config/sections/execution.py, config/sections/extension.py,
config/sections/flow.py, config/sections/models.py, config/sections/operation.py,
config/sections/resilience.py, config/sections/server.py, config/sections/sessions.py,
config/sections/tokens.py, config/sections/upstream.py, config/sections/web.py
"""

from __future__ import annotations

from pathlib import Path

from gemini_backend.config.reference.catalogue import expand, sections, settings
from gemini_backend.config.reference.page import render
from gemini_backend.config.tree import Config
from gemini_backend.config.values import build, convert, flatten

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_page_is_current() -> None:
    """docs/configuration.md is what `python -m gemini_backend.config` prints."""
    assert render() == PAGE.read_text()


def test_every_setting_is_described() -> None:
    """Each setting says what it means, in a sentence, and each time says its unit."""
    for setting in settings().values():
        assert setting.description.endswith("."), setting.path
        if "timeout" in setting.path or "deadline" in setting.path:
            assert setting.path.endswith(("_seconds", "_ms")), setting.path


def test_defaults_obey_their_own_rules() -> None:
    """Each default is a value that the setting would take."""
    for setting in settings().values():
        assert setting.default == convert(setting, setting.default), setting.path


def test_flatten_and_build_are_inverse() -> None:
    """A tree is the sum of its values."""
    assert Config() == build(flatten(Config()))
    assert list(settings()) == list(flatten(Config()))


def test_secret_settings_are_known() -> None:
    """The keys are secret, and the proxy's address, which may hold a password."""
    expected = ["secrets.master_key", "upstream.gemini.api_keys", "upstream.gemini.proxy_url"]
    assert expected == [s.path for s in settings().values() if s.secret]


def test_sections_expand_to_their_settings() -> None:
    """A section stands for all of its settings, a setting for itself, anything else for none."""
    assert expand("logging") == ("logging.level", "logging.format", "logging.access")
    assert expand("logging.level") == ("logging.level",)
    assert expand("log") == ()
    assert {"upstream", "upstream.gemini"} <= sections()
