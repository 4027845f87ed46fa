"""The Service Mesh Interface: who may call, in the words of TrafficTarget."""
