"""Live capture: a bounded queue between the application and the store, and the ASGI middleware that feeds it."""
