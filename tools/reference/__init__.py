"""The reference pages, made from the contract and the code: `python -m tools.reference`."""
