"""Makes the backends of this folder importable from its tests and from runs inside of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
