"""Acme's flag server as a Downhaul provider."""
