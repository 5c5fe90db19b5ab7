"""Readers: a file's bytes to a document."""

from ingest.readers.dispatch import READERS, Reader, read, reader_name, supported

__all__ = ["READERS", "Reader", "read", "reader_name", "supported"]
