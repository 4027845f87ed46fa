"""The Gateway API: which requests go where, inside the mesh and at its edge."""
