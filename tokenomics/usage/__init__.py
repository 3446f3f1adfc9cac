"""Homes of the limits: where the accounts of `policy.limits` live."""
