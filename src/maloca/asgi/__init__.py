"""What both services share to speak HTTP: middleware, the server loop, service records."""
