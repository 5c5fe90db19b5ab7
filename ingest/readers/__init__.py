"""From a file's bytes to a document, one module per format family."""
