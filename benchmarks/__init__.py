"""Benchmarks. Most compare a measurement with a floor: the least possible work, in the same run."""
