"""The xDS transport: values, the delta stream as a state machine without I/O, its gRPC shell, and the fleet."""
