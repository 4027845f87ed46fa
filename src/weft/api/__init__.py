"""What users write: bytes to documents to typed objects, with every problem at its place.

``document`` reads (``yaml``, ``nodes``, ``scalars``), ``kinds`` lists what there is, ``decode`` types it (``base``, ``core``,
``gateway``, ``httproute``, ``filters``, ``mesh``, ``regex``, ``labels``, ``complaint``), ``schema`` describes it for editors.
"""
