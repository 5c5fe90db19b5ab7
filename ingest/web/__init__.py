"""Pages of the web as sources: what may be fetched, how, and where it is kept."""
