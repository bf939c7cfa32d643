"""Benchmarks: what the gate costs beside its peers, as ratios measured in one run."""
