"""The ``Mesh`` kind: services, processes and what is exposed, written in one file."""
