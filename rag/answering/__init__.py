"""From a question and a retriever to an answer with citations."""
