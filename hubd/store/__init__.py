"""What must survive a crash, in SQLite or PostgreSQL. ``hubd.store.opening.open_store`` opens it.

Nothing here imports a database library before a store is opened: a hub that stores nothing doesn't pay for one.
"""
