"""Proof that two backends give everybody the same answer: cases, recorded contexts, comparison.

:func:`questions_of` makes cases from a flag, :func:`recorded` reads them from traffic,
:func:`verify` asks both sides, and the writers tell what came of it. Nothing here prints.
"""

from downhaul.migrate.verify.cases import (
    Case,
    Coverage,
    Questions,
    Unreached,
    cases_of,
    of_flags,
    questions_in,
    questions_of,
)
from downhaul.migrate.verify.comparing import Options, verify
from downhaul.migrate.verify.outcomes import Compared, Outcome, compared
from downhaul.migrate.verify.recorded import Recorded, cases_from, recorded
from downhaul.migrate.verify.report import Answer, Example, Expectation, FlagReport, Report, shown
from downhaul.migrate.verify.sides import Asked, Asker, asked_of, asked_through
from downhaul.migrate.verify.written import HEADINGS, junit, report_data, rows

__all__ = [
    "HEADINGS",
    "Answer",
    "Asked",
    "Asker",
    "Case",
    "Compared",
    "Coverage",
    "Example",
    "Expectation",
    "FlagReport",
    "Options",
    "Outcome",
    "Questions",
    "Recorded",
    "Report",
    "Unreached",
    "asked_of",
    "asked_through",
    "cases_from",
    "cases_of",
    "compared",
    "junit",
    "of_flags",
    "questions_in",
    "questions_of",
    "recorded",
    "report_data",
    "rows",
    "shown",
    "verify",
]
