"""The mesh in our own words: what dialects compile to and builders build from. Neither Kubernetes nor Envoy appears here.

Provenance travels as ``source``, a string such as ``HTTPRoute/shop/cart/rules/0`` (``Ref.path`` plus the place inside the
object). It becomes the name of the Envoy object, so that any real request can be explained from the store.
"""
