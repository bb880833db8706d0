"""How the parts are put together: what outlives a call, the layers, the services."""
