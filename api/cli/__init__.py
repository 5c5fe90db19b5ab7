"""The rag command, one module per subject."""
