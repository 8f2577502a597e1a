"""Split (Harness FME) as a Downhaul provider."""
