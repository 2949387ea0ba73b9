"""Settings for all tests: Hypothesis draws the same examples everywhere, and takes its time."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("repeatable")
