"""``python -m downhaul`` is ``downhaul``."""

from downhaul.cli import main

main()
