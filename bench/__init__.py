"""What the README's speed figures come from: `python -m bench.run`."""
