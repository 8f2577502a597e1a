"""Faces that other frameworks know us by. Nothing here decides anything about a flag."""
