"""The catalogue: what comes with the package, extended or overridden by the operator's own file."""

from __future__ import annotations

import re
import tomllib
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gemini_backend.config import ConfigError
from gemini_backend.models.catalogue_schema import BUILT_IN, CatalogueEntry, CatalogueFile, Price
from gemini_backend.models.names import short_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_SETTING = "models.catalogue_file"
_VERSION = re.compile(r"-(\d{3}|(preview-)?\d\d-(\d\d|\d{4}))\Z")
# Names that were looked for and their models; beyond so many all are forgotten.
_REMEMBERED = 4096


class Catalogue:
    """Models by name and by alias.

    Attributes:
        revision: How many times a model was changed.
    """

    def __init__(self, entries: Iterable[CatalogueEntry]) -> None:
        """Know these models.

        Raises:
            ConfigError: they contradict themselves or each other.
        """
        self._entries = {entry.name: entry for entry in entries}
        self._aliases = dict(_aliases(self._entries))
        self.revision = 0
        self._found: dict[str, CatalogueEntry | None] = {}
        self._billed: dict[str, CatalogueEntry | None] = {}
        for entry in self._entries.values():
            _check(entry, self._entries)
        for name in self._entries:
            self._check_replacements(name)

    def __iter__(self) -> Iterator[CatalogueEntry]:
        """Give every model, by name."""
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))

    def find(self, name: str) -> CatalogueEntry | None:
        """Return the model of a name, short or full, or of an alias; None where there is none."""
        found = self._found.get(name)
        if found is None and name not in self._found:
            short = short_name(name)
            found = self._entries.get(short) or self._entries.get(self._aliases.get(short, ""))
            _remember(self._found, name, found)
        return found

    def billed(self, name: str) -> CatalogueEntry | None:
        """Return the model that a served version's name means: `-001` and dates are left out."""
        found = self._billed.get(name)
        if found is None and name not in self._billed:
            found = self.find(name) or self.find(_VERSION.sub("", short_name(name)))
            _remember(self._billed, name, found)
        return found

    def put(self, entry: CatalogueEntry) -> None:
        """Know better of a model that is known already."""
        self._entries[entry.name] = entry
        self._found.clear()
        self._billed.clear()
        self.revision += 1

    def _check_replacements(self, name: str) -> None:
        seen = [name]
        while (entry := self._entries[seen[-1]]).replacement is not None:
            following = entry.replacement
            if following in seen:
                raise _wrong(
                    name, f"its replacements form a cycle through {following}; break the cycle"
                )
            seen.append(following)


def _remember(
    found: dict[str, CatalogueEntry | None], name: str, entry: CatalogueEntry | None
) -> None:
    if len(found) >= _REMEMBERED:
        found.clear()
    found[name] = entry


def load(own_file: str = "") -> Catalogue:
    """Return the built-in catalogue; models of the operator's file stand in place of its own.

    One that says `inherit = true` has from the built-in model of its name what it does not say.

    Raises:
        ConfigError: a file cannot be read or makes no sense, with the file, the model and the fix.
    """
    text = resources.files("gemini_backend.models").joinpath(BUILT_IN).read_text("utf-8")
    built_in = _tables(text, BUILT_IN)
    entries = {entry.name: entry for entry in _read(built_in, BUILT_IN).models}
    if own_file:
        try:
            own = Path(own_file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError.at(
                f"{_SETTING}: {own_file} cannot be read: {error}", _SETTING
            ) from None
        tables = _tables(own, own_file)
        _inherit(tables, {model["name"]: model for model in built_in["models"]})
        for entry in _read(tables, own_file).models:
            entries[entry.name] = entry
    return Catalogue(entries.values())


def _tables(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError.at(f"{_SETTING}: {file}: {error}; correct the file", _SETTING) from None


def _inherit(tables: dict[str, Any], built_in: Mapping[str, Any]) -> None:
    """Fill up the models that inherit; what is no list of tables is told of when it is read."""
    models = tables.get("models")
    if not isinstance(models, list):
        return
    for place, model in enumerate(models):
        if not isinstance(model, dict) or not model.pop("inherit", False):
            continue
        name = model.get("name")
        if not isinstance(name, str) or name not in built_in:
            raise _wrong(
                str(name),
                "there is no built-in model of this name to inherit from; specify all fields",
            )
        models[place] = {**built_in[name], **model}


def _read(tables: dict[str, Any], file: str) -> CatalogueFile:
    try:
        found = msgspec.convert(tables, CatalogueFile, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError.at(f"{_SETTING}: {file}: {error}; correct the file", _SETTING) from None
    names = [entry.name for entry in found.models]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise _wrong(min(twice), f"is defined twice in {file}; remove one of them")
    return found


def _aliases(entries: dict[str, CatalogueEntry]) -> Iterator[tuple[str, str]]:
    owners: dict[str, str] = {}
    for entry in entries.values():
        for alias in entry.aliases:
            if alias in entries:
                raise _wrong(
                    entry.name, f"its alias {alias} is the name of a model; choose another alias"
                )
            if alias in owners:
                raise _wrong(entry.name, f"its alias {alias} is also an alias of {owners[alias]}")
            owners[alias] = entry.name
    yield from owners.items()


def _check(entry: CatalogueEntry, entries: dict[str, CatalogueEntry]) -> None:
    if entry.replacement is not None and entry.replacement not in entries:
        raise _wrong(
            entry.name,
            f"its replacement {entry.replacement} is not a model of the catalogue; use the name of "
            "one, not an alias",
        )
    if 0 < entry.total_output_token_limit < entry.output_token_limit:
        raise _wrong(
            entry.name,
            "its total_output_token_limit, over all hops, is less than its output_token_limit",
        )
    _check_thinking(entry)
    _check_dates(entry)
    _check_prices(entry)


def _check_thinking(entry: CatalogueEntry) -> None:
    thinking = entry.thinking
    if thinking is not None:
        if thinking.default_level is not None and thinking.default_level not in thinking.levels:
            raise _wrong(entry.name, "thinking.default_level is not one of thinking.levels")
        low, high = thinking.min_budget, thinking.max_budget
        if (low is None) != (high is None) or (low or 0) > (high or 0):
            raise _wrong(
                entry.name,
                "thinking needs min_budget and max_budget, and min_budget must not be larger",
            )


def _check_prices(entry: CatalogueEntry) -> None:
    for one, other in combinations(entry.prices, 2):
        if _overlap(one, other):
            raise _wrong(
                entry.name,
                f"two prices of the tier {one.tier} above {one.above_prompt_tokens} tokens "
                "overlap; let one end where the other begins",
            )


def _check_dates(entry: CatalogueEntry) -> None:
    life = ("release", "deprecation", "shutdown")
    for earlier, later in combinations(life, 2):
        begin, end = getattr(entry, earlier), getattr(entry, later)
        if begin and end and end < begin:
            raise _wrong(entry.name, f"its {later} comes before its {earlier}; correct the dates")
    if entry.release and entry.release == entry.shutdown:
        raise _wrong(entry.name, "its shutdown is on the day of its release; correct the dates")
    for price in entry.prices:
        if price.starts and price.ends and price.starts >= price.ends:
            raise _wrong(
                entry.name, f"a price ends on {price.ends}, before it begins; correct the dates"
            )


def _overlap(one: Price, other: Price) -> bool:
    if (one.tier, one.above_prompt_tokens) != (other.tier, other.above_prompt_tokens):
        return False
    starts_late = one.starts and other.ends and one.starts >= other.ends
    ends_early = one.ends and other.starts and one.ends <= other.starts
    return not (starts_late or ends_early)


def _wrong(name: str, words: str) -> ConfigError:
    return ConfigError.at(f"{_SETTING}: {name}: {words}", _SETTING)
