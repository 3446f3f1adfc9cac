"""The proxy: `road` is the way of a request, the other modules are its stages."""
