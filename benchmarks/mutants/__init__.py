"""Mutants: how they are made, tried and judged."""
