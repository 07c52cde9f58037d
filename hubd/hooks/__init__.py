"""Hooks: what plugins can do, and how they are called without being able to harm anybody."""
