"""The parts of a decision, each a part of the order in :mod:`downhaul.rollout.decide`. Pure."""
