"""The API's routes, a module per area."""
