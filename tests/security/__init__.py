"""The attacker's tests: one module for each class of attack."""
