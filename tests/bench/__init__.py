"""Measurements: each module prints one table, `python -m tests.bench.NAME`."""
