"""Benchmarks: they print ratios, and are never part of the tests."""
