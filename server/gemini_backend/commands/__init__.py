"""The commands of the server's own; the others live beside what they run."""
