"""What stands innermost: the model API, behind one protocol."""
