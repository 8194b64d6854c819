"""From templates and values to what a recipient reads. Pure: no service, no network."""
