"""Flag documents: the published format in JSON, TOML and YAML, read with every problem named.

Validation lives here and only here; it happens on write and on import. What a store wrote itself
is read by :mod:`downhaul.encoding` without it. ``docs/flag-documents.md`` shows the format.
"""

from downhaul.documents.checks import check_flag, check_segment, with_one
from downhaul.documents.document import parse_document, read_flag, read_segment
from downhaul.documents.models import json_schema
from downhaul.documents.reading import FORMATS, format_of
from downhaul.documents.writing import render_document

__all__ = [
    "FORMATS",
    "check_flag",
    "check_segment",
    "format_of",
    "json_schema",
    "parse_document",
    "read_flag",
    "read_segment",
    "render_document",
    "with_one",
]
