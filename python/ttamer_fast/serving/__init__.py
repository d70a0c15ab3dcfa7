"""Running models under a policy."""
