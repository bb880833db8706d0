"""Many prompts in one call; each answer is printed as it comes."""

from __future__ import annotations

from gemini_backend_client import Client

RIVERS = ("Rhine", "Nile", "Mekong", "Amazon")


def main() -> None:
    """Ask about every river; one that fails does not stop the others."""
    with Client() as client:
        for one in client.batch([f"Write a haiku about the {river}" for river in RIVERS]):
            print(RIVERS[one.index], one.error or one.result().text, sep=": ")


if __name__ == "__main__":
    main()
