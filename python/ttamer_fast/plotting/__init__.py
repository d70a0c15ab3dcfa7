"""Pictures of frontiers and policies (extra `plot`)."""
