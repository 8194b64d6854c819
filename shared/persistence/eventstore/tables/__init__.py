"""The store's tables: how they are made, and how rows go in."""
