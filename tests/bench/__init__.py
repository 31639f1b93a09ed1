"""Benchmarks against named peers: `python -m tests.bench`. No test, and never collected as one."""
