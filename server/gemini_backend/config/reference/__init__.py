"""The reference of all settings, read off the tree."""
