"""Kubernetes' own kinds: services, and the endpoints behind them."""
