"""From the APIs that users write in to the one model: core services, the Mesh kind, the Gateway API."""
