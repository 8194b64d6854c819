"""The event store: one contract for both databases."""
