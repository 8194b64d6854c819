"""Servers that keep data: MongoDB, and leases on it."""
