"""Rollouts: plans that raise a flag's exposure step by step, and take it back.

A rollout is rows in the control store (rule R1). A controller moves it, tick by tick (rule R2);
what it does is decided by one pure function, :func:`downhaul.rollout.decide.decide`.
"""
