"""The demo: a real application under live traffic follows an operator, on SQLite and PostgreSQL.

Nothing here is a script of prints: services run in processes of their own, users are asked about
over HTTP, and every figure in the summary was measured in the run that prints it.
"""

from downhaul.demo.run import run

__all__ = ["run"]
