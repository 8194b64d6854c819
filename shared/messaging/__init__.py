"""How messages travel: topology, frames, a publisher, consumers and request-reply, all over RabbitMQ."""
