"""Private servers for one machine: RabbitMQ, mongod and PostgreSQL as child processes."""
