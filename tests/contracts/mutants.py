"""Providers that are broken on purpose, one fault each, and the tests that name the fault.

Each is a small subclass of a provider that holds the contract. Where a fault is seen by more than
one test, all of them are about it: a percentage that reshuffles breaks what is monotone, and what
is the same everywhere.
"""

import mutants_answering
import mutants_lifecycle
import mutants_telling
import mutants_writing
from broken import MUTANTS, PATIENCE

__all__ = [
    "MUTANTS",
    "PATIENCE",
    "mutants_answering",
    "mutants_lifecycle",
    "mutants_telling",
    "mutants_writing",
]
