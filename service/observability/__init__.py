"""Logs, metrics, traces and exception reports."""
