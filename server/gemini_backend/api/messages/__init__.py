"""Facts of the server as messages of the contract, and back."""
