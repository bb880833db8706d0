"""How the server and its parts are: frozen facts, the rules that judge them, the report."""
