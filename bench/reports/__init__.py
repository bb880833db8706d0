"""From measurements to the table of the documentation, and the limits that they must keep."""
