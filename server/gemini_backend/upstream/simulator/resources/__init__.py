"""What the simulator keeps or lists: models, files, cached contents."""
