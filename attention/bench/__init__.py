"""Benchmarks: attention kernels here; the whole model and a running server come with the repository."""
