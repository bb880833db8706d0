"""The real server, the simulator and other programs, as processes."""
