"""Bringing notifications to devices: who has which, when each push goes, and what becomes of it."""
