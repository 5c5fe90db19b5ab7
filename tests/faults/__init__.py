"""Fault injection: ``python -m tests.faults --full`` tries every write of an ingest and writes docs/crash.md."""
