"""Print an answer as it streams, then what it used.

Run: python stream.py "Write a haiku about rivers"
"""

from __future__ import annotations

import sys

from gemini_backend_client import Client, GeminiBackendError, RateLimitedError


def main() -> int:
    """Ask what the command line says."""
    prompt = " ".join(sys.argv[1:]) or "Write a haiku about rivers"
    with Client() as client, client.execute(prompt, system_instruction="Be brief.") as execution:
        try:
            for piece in execution:
                print(piece, end="", flush=True)
        except RateLimitedError as error:
            print(f"\nTry again in {error.retry_after or 60:.0f} s.", file=sys.stderr)
            return 1
        except GeminiBackendError as error:
            print(f"\n{error} [{error.reason or error.code.name}]", file=sys.stderr)
            return 1
    answer = execution.result()
    print(f"\n\n{answer.usage.total_token_count} tokens, finished for {answer.finish_reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
