"""Benchmarks: attention kernels here; the whole model and a running server come with the repository."""

REPOSITORY = "https://github.com/wanattn/wanattn"
