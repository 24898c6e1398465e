"""Benchmarks of Rollcall against baselines, peers and other checkouts; see README.md."""
