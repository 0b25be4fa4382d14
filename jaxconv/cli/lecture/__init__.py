"""`python -m jaxconv lecture`: convolution and differentiation, listing by listing."""
