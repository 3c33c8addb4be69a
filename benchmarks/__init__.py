"""Benchmarks.

Most benchmarks compare a measurement with a floor: the same work in its least possible form,
measured in the same run.
"""
