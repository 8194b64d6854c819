"""The roof: the command line and `up`, the only place that knows all services."""
