"""The fields and enums of google-genai's own types, as one JSON object."""

from __future__ import annotations

import datetime as dt
import enum
import json
import sys
import types as python_types
import typing
from typing import Any

import pydantic
from google import genai
from google.genai import types

KINDS = {
    bool: "bool",
    bytes: "bytes",
    dt.datetime: "time",
    dict: "object",
    float: "float",
    int: "int",
    str: "text",
}


class Walk:
    """Every type that can be reached from the first ones."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.types: dict[str, dict[str, dict[str, Any]]] = {}
        self.enums: dict[str, list[str]] = {}

    def model(self, model: type[pydantic.BaseModel]) -> None:
        """Add a type, and what its fields are made of; Schema holds itself and stands for JSON."""
        name = model.__name__
        if name in self.types:
            return
        self.types[name] = {}
        for field, info in model.model_fields.items():
            found = self.field(info.annotation)
            self.types[name][field] = {"json": info.alias or field, **found}

    def field(self, annotation: Any) -> dict[str, Any]:
        """Tell what a field holds; of several kinds the one that says most."""
        origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
        if origin is typing.Annotated:
            return self.field(inner[0])
        if origin in (typing.Union, python_types.UnionType):
            found = [self.field(one) for one in inner if one is not type(None)]
            return next((one for one in found if one["kind"] == "message"), found[0])
        if origin is list or annotation is list:
            one = self.field(inner[0]) if inner else {"kind": "any"}
            return {**one, "list": True}
        if origin is typing.Literal:
            return {"kind": "word", "words": list(inner)}
        if origin is dict:
            return {"kind": "object"}
        return self.single(annotation)

    def single(self, annotation: Any) -> dict[str, Any]:
        """Tell what a field of one plain type holds."""
        if not isinstance(annotation, type):
            return {"kind": "any"}
        if issubclass(annotation, pydantic.BaseModel):
            self.model(annotation)
            return {"kind": "message", "type": annotation.__name__}
        if issubclass(annotation, enum.Enum):
            self.enums[annotation.__name__] = [one.value for one in annotation]
            return {"kind": "enum", "type": annotation.__name__}
        return {"kind": KINDS.get(annotation, "any")}


def main() -> None:
    """Print all that can be reached from the types that are named on the command line."""
    walk = Walk()
    for name in sys.argv[1:]:
        walk.model(getattr(types, name))
    found = {"version": genai.__version__, "types": walk.types, "enums": walk.enums}
    print(json.dumps(found))  # noqa: T201 - this is what it is for


if __name__ == "__main__":
    main()
