"""Measurements of shopstream against its limits and its peers, on this machine, in one run.

`python -m benchmarks` runs them all and rewrites the tables in `docs/performance.md`.
"""
