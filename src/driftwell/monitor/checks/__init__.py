"""The jobs of a check, a module each: traffic, quality, drift, performance. ``pipeline`` runs them in this order."""
