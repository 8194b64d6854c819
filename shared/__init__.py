"""The ground floor: what every service may know, and nothing of any service."""
