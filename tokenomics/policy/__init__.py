"""Policies: `model` reads them, `route` resolves them, `rules` inspect texts, `limits` count.

Pure: this package knows texts, models and numbers; it knows no JSON of any provider.
"""
