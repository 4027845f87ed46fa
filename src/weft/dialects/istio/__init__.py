"""Istio's APIs: so far those of security."""
