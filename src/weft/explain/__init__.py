"""What a proxy runs and why, and what manifests cannot mean: looked at, never changed."""
