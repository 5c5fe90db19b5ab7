"""Archives: folders that come as one file. Nothing of them is ever unpacked to disk."""
