"""Dialects: what requests and answers mean. They know JSON; they know no policy. Pure."""
