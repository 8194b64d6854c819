"""The tests: one folder per package, and what crosses packages beside them."""
