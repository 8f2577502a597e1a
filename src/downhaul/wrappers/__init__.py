"""Providers made of providers: each holds one and adds one thing. They stack (``[provider] wrap``).

No backend lives here, and nothing that decides a flag.
"""
