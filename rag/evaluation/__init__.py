"""Measuring retrieval: question sets, measures, and how sure a mean is. Pure."""
