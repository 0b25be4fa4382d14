"""`python -m jaxconv lecture`: convolution and differentiation from the beginning, listing by listing."""
