"""The rules of rooms: each violation is found, and this repository has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tools import rooms
from tools.rooms import House

if TYPE_CHECKING:
    from pathlib import Path

LAYERED, FLAT = House("house", layered=True), House("house")
INSIDE = "is inside of a sibling room: import it from house.layer.a, and name it in __all__ there"
NO_PART = "is no part of the entry of the sibling room house.layer.a"
ENTRY = 'from house.layer.a.x import one\n__all__ = ["one"]\n'
USER = "from house.layer.a import one\n"


def found(root: Path, files: dict[str, str], house: House = LAYERED) -> list[str]:
    """Return the violations of a house with these files, as they are printed."""
    for name, text in files.items():
        path = root / "house" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for folder in path.parents:
            if folder == root:
                break
            (folder / "__init__.py").touch()
    return [str(one) for one in rooms.violations(root, [house])]


def test_this_repository_has_no_violations() -> None:
    """Rooms are entered by their entries, nothing is imported in a circle, no room is too full."""
    assert [] == rooms.violations()


def test_an_entry_is_enough(tmp_path: Path) -> None:
    """A sibling imports what the entry names."""
    files = {"layer/a/__init__.py": ENTRY, "layer/a/x.py": "one = 1\n", "layer/b/y.py": USER}
    assert [] == found(tmp_path, files)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from house.layer.a.x import one\n", f"1: house.layer.a.x.one {INSIDE}"),
        ("import house.layer.a.x\n", f"1: house.layer.a.x {INSIDE}"),
        ("from ..a.x import one\n", f"1: house.layer.a.x.one {INSIDE}"),
        ("def f():\n    from house.layer.a import (\n        x,\n    )\n", f"3: x {NO_PART}"),
        ("if TYPE_CHECKING:\n    from house.layer.a import z\n", f"2: z {NO_PART}"),
    ],
)
def test_a_way_past_the_entry_is_found(tmp_path: Path, text: str, expected: str) -> None:
    """Inner modules and names that are in no `__all__` are refused, for types and in functions."""
    files = {"layer/a/__init__.py": "", "layer/a/x.py": "one = 1\n", "layer/b/y.py": text}
    (line,) = found(tmp_path, files)
    assert line.startswith(f"house/layer/b/y.py:{expected}")


def test_a_name_deep_in_a_sibling_comes_from_the_entry_of_the_sibling(tmp_path: Path) -> None:
    """A room of a room is entered by the outermost of them."""
    text = "from house.layer.a.deep import one\n"
    (line,) = found(tmp_path, {"layer/a/deep/__init__.py": "one = 1\n", "layer/b/c/y.py": text})
    assert f"house/layer/b/c/y.py:1: house.layer.a.deep.one {INSIDE}" == line


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("layer/y.py", "from house.layer.a.x import one\n"),
        ("layer/a/deep/y.py", "from house.layer.a.x import one\n"),
        ("layer/b/y.py", "from house.layer.base import BASE\n"),
        ("other/b/y.py", "from house.layer.a.x import one\n"),
        ("layer/b/y.py", "from elsewhere.layer.a import one\n"),
    ],
)
def test_parents_children_and_other_layers_import_modules(
    tmp_path: Path, name: str, text: str
) -> None:
    """Only siblings need an entry."""
    base = {"layer/base.py": "BASE = 1\n", "layer/a/x.py": "one = 1\n"}
    assert [] == found(tmp_path, base | {name: text})


def test_without_layers_the_outermost_packages_are_siblings(tmp_path: Path) -> None:
    """The packages of the client and of the benchmark are rooms themselves."""
    files = {"a/x.py": "one = 1\n", "b/y.py": "from house.a.x import one\n"}
    (line,) = found(tmp_path, files, FLAT)
    assert "house/b/y.py:1: house.a.x.one is inside of a sibling room: " in line


def test_a_circle_of_rooms_is_found(tmp_path: Path) -> None:
    """Rooms that import each other are found, even where the files do so for types only."""
    files = {
        "layer/a/__init__.py": ENTRY,
        "layer/a/x.py": "one = 1\n",
        "layer/a/z.py": "if TYPE_CHECKING:\n    from house.layer.b import two\n",
        "layer/b/__init__.py": 'two = 2\n__all__ = ["two"]\n',
        "layer/b/y.py": USER,
    }
    (line,) = found(tmp_path, files)
    assert "house/layer/a/z.py:2: sibling rooms import each other in a circle, " in line
    assert "house.layer.a -> house.layer.b -> house.layer.a: move what both need " in line


def test_a_circle_of_files_is_found(tmp_path: Path) -> None:
    """Files that run each other are found; imports for types only do not count."""
    files = {
        "layer/a/x.py": "from house.layer.a import z\n",
        "layer/a/z.py": "from house.layer.a import x\n",
        "layer/a/w.py": "if TYPE_CHECKING:\n    from house.layer.a import v\n",
        "layer/a/v.py": "from house.layer.a import w\n",
    }
    (line,) = found(tmp_path, files)
    assert "house/layer/a/x.py:1: files import each other in a circle, " in line
    assert "house.layer.a.x -> house.layer.a.z -> house.layer.a.x: move what both need " in line


def test_an_import_runs_the_packages_above_its_target(tmp_path: Path) -> None:
    """A circle through an `__init__` that nobody names is a circle."""
    files = {
        "layer/base.py": "from house.layer.a.x import one\n",
        "layer/a/__init__.py": "from house.layer.a.z import two\n",
        "layer/a/x.py": "one = 1\n",
        "layer/a/z.py": "from house.layer.base import BASE\n",
    }
    (line,) = found(tmp_path, files)
    circle = "house.layer.a -> house.layer.a.z -> house.layer.base -> house.layer.a: "
    assert f"files import each other in a circle, {circle}" in line


@pytest.mark.parametrize("extra", [0, 1])
def test_a_full_room_is_found(tmp_path: Path, extra: int) -> None:
    """A room holds 15 files, `__init__` included; packages in it count by themselves."""
    files = {f"layer/a/m{number}.py": "" for number in range(14 + extra)}
    files |= {"layer/a/deep/y.py": ""}
    expected = ["house/layer/a/__init__.py:1: house.layer.a has 16 files, 15 are allowed"] * extra
    assert expected == [line.partition(": move")[0] for line in found(tmp_path, files)]


@pytest.mark.parametrize(
    ("entry", "user", "expected"),
    [
        ("two = 2\n__all__ = [\n    'one',\n]\n", USER, "3: one does not exist"),
        ("one = 1\n__all__ = ['one']\n", "", "2: one is imported from nowhere outside of the room"),
        (
            "from house.layer.a.x import x\n__all__ = ['x']\n",
            "from house.layer.a import x\n",
            "2: x is also a file of the room",
        ),
    ],
)
def test_a_wrong_name_in_an_entry_is_found(
    tmp_path: Path, entry: str, user: str, expected: str
) -> None:
    """Each name of `__all__` exists, means one thing, and is imported by somebody outside."""
    files = {"layer/a/__init__.py": entry, "layer/a/x.py": "x = 1\n", "layer/b/y.py": user}
    (line,) = found(tmp_path, files)
    assert f"house/layer/a/__init__.py:{expected}" == line.rpartition(": ")[0]


def test_a_module_can_be_a_name_of_an_entry(tmp_path: Path) -> None:
    """An entry may name a whole file, whose functions are then read with its name."""
    entry = "from house.layer.a import x\n__all__ = ['x']\n"
    user = "from house.layer.a import x\n"
    files = {"layer/a/__init__.py": entry, "layer/a/x.py": "", "layer/b/y.py": user}
    assert [] == found(tmp_path, files)


def test_the_command_prints_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It ends with 1 and a line per violation, with 0 and no line where there are none."""
    assert (0, "") == (rooms.main(tmp_path), capsys.readouterr().out)
    (tmp_path / "bench").mkdir()
    for number in range(16):
        (tmp_path / "bench" / f"m{number}.py").touch()
    (tmp_path / "bench" / "__init__.py").touch()
    assert 1 == rooms.main(tmp_path)
    assert capsys.readouterr().out.startswith("bench/__init__.py:1: bench has 17 files, 15 are")
