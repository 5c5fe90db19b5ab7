"""Readers: a file's bytes to a document."""

from ingest.readers.dispatch import READERS, Reader, is_light, read, reader_name, supported

__all__ = ["READERS", "Reader", "is_light", "read", "reader_name", "supported"]
