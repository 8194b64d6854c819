"""Adapters to the outside world: one small class per kind of channel."""
