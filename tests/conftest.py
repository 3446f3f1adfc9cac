"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Both judge by the wall clock, which on a busy machine says nothing about the code.
settings.register_profile("any", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any")
