"""Flags that come from Unleash, for Downhaul."""
