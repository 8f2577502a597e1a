"""Any OpenFeature provider as a read-only Downhaul backend."""
