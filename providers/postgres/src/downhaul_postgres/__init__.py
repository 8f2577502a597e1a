"""Flags in PostgreSQL, for Downhaul."""
