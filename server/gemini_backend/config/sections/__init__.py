"""The sections of the tree, one frozen options struct a feature."""
