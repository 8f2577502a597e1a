"""What people are told of: how bad each event is, and the words in which it is told.

Nothing here sends anything, and nothing knows who listens: that is :mod:`downhaul.control`.
"""
