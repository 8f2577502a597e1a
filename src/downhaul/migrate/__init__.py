"""Moving flags from one backend to another: inventory, plan, apply, verify, cutover, retire."""
