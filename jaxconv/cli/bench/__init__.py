"""``python -m jaxconv bench``: jaxconv beside lax and PyTorch, on layers of published networks."""
