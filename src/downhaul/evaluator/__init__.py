"""Pure evaluation of a flag set under an overlay for a context. No I/O, no threads, no files.

:mod:`.view` publishes compiled decisions. :mod:`.compile` makes them out of a flag, :mod:`.shapes`
the common ones faster, :mod:`.clauses` and :mod:`.operators` out of its conditions,
:mod:`.bucketing` out of its splits; :mod:`.needs` knows what depends on what.
:mod:`.batch` and :mod:`.bulk` ask about many users at once, the latter by columns.
:mod:`.explain` tells the same story slowly, rule by rule.
"""
