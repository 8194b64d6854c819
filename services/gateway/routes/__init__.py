"""The routes under ``/api/v1``, a module per area. Each only translates: from HTTP to a query or an order, and back."""
