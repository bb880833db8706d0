"""How a connection to the model API is made: names, addresses, proxies, TLS."""
