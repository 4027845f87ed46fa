"""What the promises of docs/reference/promises.md are worth on this machine: ``python -m benchmarks.faults ROW...``."""
