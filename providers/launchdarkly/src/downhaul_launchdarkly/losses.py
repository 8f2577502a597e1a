"""How a clause in LaunchDarkly's words decides otherwise than the one that it stands for.

Each text begins with its class, before the colon.
"""

from __future__ import annotations

from typing import Final

LISTS: Final = "values: a list matches by any of its elements"
TEXTS: Final = "values: only texts are compared as texts, and numbers or booleans are not"
DIGITS: Final = "values: 5 and 5.0 are one number"
NUMBERS: Final = "values: only numbers are compared as numbers, and texts of numbers are not"
TIMES: Final = "values: times are RFC 3339, or numbers in milliseconds since 1970"
SECONDS: Final = "values: times are whole numbers of seconds since 1970, and nothing else"
VERSIONS: Final = "values: a version may lack its minor and patch numbers, as in 2 or 2.1"
SINGLE: Final = "values: what is no list is taken as a list of one"
CASE: Final = "case: only simple forms of a letter are alike, which leaves out such as ß and SS"
BUILDS: Final = "values: versions that differ in nothing but what follows the + are equal"


class Unsayable(ValueError):
    """A clause that LaunchDarkly has no words for; the message says why."""
