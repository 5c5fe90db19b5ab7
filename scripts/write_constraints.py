"""Prints the versions of everything installed beside this interpreter, one pin a line, this project left out."""

from importlib.metadata import distributions

OWN = {"footnote-rag", "pip", "setuptools"}

print("# The versions this project is tested with; written by `make lock`.")
for name, version in sorted({(dist.metadata["Name"].lower(), dist.version) for dist in distributions()}):
    if name not in OWN:
        print(f"{name}=={version}")
