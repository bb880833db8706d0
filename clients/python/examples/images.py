"""Ask about pictures, and get the answer as JSON of a given shape.

Run: python images.py PICTURE...
"""

from __future__ import annotations

import sys
from pathlib import Path

from gemini_backend_client import Client, InvalidRequestError, json_answer

_SHAPE = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "subject": {"type": "string"},
            "colours": {"type": "array", "items": {"type": "string"}},
        },
        "required": ["subject", "colours"],
    },
}


def main() -> int:
    """Describe the pictures that the command line names."""
    pictures = [Path(name) for name in sys.argv[1:]]
    if not pictures:
        print("name at least one picture: python images.py PICTURE...", file=sys.stderr)
        return 2
    with Client() as client:
        try:
            answer = client.process(
                [*pictures, "What does each picture show, and in which colours?"],
                generation_config=json_answer(_SHAPE, temperature=0.0),
            )
        except InvalidRequestError as error:
            for violation in error.violations:
                print(f"{violation.field}: {violation.description}", file=sys.stderr)
            print(error, file=sys.stderr)
            return 1
    for entry in answer.json():
        print(f"{entry['subject']}: {', '.join(entry['colours'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
