"""``tendril up``: everything on one machine, a process for each part."""
