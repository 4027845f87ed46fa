"""The HTTP API of the control plane: objects as in Kubernetes, and what weft's own parts ask each other."""
