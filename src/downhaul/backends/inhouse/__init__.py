"""Flags as a team has them before it has a vendor, read as they are: tables, variables, files.

Each is a provider that takes no writes, so that an application can run on what it has through our
client, and gives a :class:`downhaul.ledger.Translation`, so that it can move.
"""
