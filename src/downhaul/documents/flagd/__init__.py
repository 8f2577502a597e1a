"""flagd's documents: read as flags of ours, and written from them.

``flags_from`` and ``context_from`` are the translator that ``flags import --from flagd`` loads;
``document_of`` is what ``flags export --to flagd`` writes. ``docs/flagd.md`` says what is carried.
"""

from downhaul.documents.flagd.reading import context_from, flags_from
from downhaul.documents.flagd.writing import document_of

__all__ = ["context_from", "document_of", "flags_from"]
