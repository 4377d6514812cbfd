"""Benchmarks: each number of docs/architecture.md as a ratio of two lanes in one run, on the same data and settings."""
