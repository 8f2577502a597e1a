"""Pure evaluation: a flag set, an overlay and a context give a result. No I/O, no threads, no files.

:mod:`.view` publishes compiled decisions, :mod:`.compile` makes them out of a flag, :mod:`.clauses`
and :mod:`.operators` out of its conditions, :mod:`.bucketing` out of its splits.
:mod:`.explain` tells the same story slowly, rule by rule.
"""
