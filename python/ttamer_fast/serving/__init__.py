"""Models behind a policy."""
