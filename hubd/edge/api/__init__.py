"""The HTTP API: one file per family of calls."""
