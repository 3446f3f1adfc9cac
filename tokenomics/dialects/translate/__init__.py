"""Requests of one dialect for providers that speak another, and their answers back. Pure."""
