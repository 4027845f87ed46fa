"""From a view to Envoy's resources: one file per Envoy concern, one file per HTTP filter, and Envoy's own API from Envoy."""
