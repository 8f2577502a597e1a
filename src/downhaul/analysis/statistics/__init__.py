"""Tests that may be looked at after every request, for as long as a rollout lasts. Pure.

An *e-value* starts at 1. While the null hypothesis is true its mean is at most 1 at every look, so
it ever reaches 1/alpha with a chance of at most alpha, however often anybody looks. Windows of
requests go in, one after the other; what was gathered is frozen data that a row can hold. Nothing
here knows of rollouts, and nothing needs more than the standard library.
"""
