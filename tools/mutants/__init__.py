"""Mutation tests by hand: `make mutants`; what a run costs and found is in docs/testing.md."""
