"""The backends that the core brings: memory, a watched file, SQLite. All others are plugins.

Each module has ``create(settings)``, which a scheme of the configuration names. What they share
lives here too: the pure edits behind the narrow verbs. Rules are evaluated in
:mod:`downhaul.evaluator`, never here.
"""
