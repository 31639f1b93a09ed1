"""Loops as machine code, by numba, and what the processor that runs them has."""
