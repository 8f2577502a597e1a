"""The backends that the core brings, as the suite binds them."""

from downhaul_contract_tests.bindings import (
    IN_ONE_PROCESS,
    FileBackend,
    MemoryBackend,
    SqliteBackend,
)

__all__ = ["IN_ONE_PROCESS", "FileBackend", "MemoryBackend", "SqliteBackend"]
