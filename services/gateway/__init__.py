"""The gateway: HTTP API, sign-in, Socket.IO server, and the web app's files."""
