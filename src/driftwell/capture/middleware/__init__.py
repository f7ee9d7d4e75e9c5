"""What passes an ASGI application, read without being touched."""
