"""weft: a service mesh around the real Envoy."""
