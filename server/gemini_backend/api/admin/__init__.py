"""Services by which operators and administrators run the server."""
