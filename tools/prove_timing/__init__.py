"""Prove that durations do not reveal who has an account."""
