"""Collections on disk and how they are searched."""
