"""The contract of providers, as any run of pytest here runs it."""

from acme_flags.contract import TestAcme, acme_server

__all__ = ["TestAcme", "acme_server"]
