"""Proofs about two releases: the previous one, built from git history, beside the working tree."""
