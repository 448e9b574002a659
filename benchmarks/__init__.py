"""Benchmarks that a person runs. Outside the published archive, since some of them open connections."""
