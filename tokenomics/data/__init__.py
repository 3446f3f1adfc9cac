"""Data files: the example roles' policies, as `demo` uses them."""
