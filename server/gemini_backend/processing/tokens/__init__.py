"""How many tokens a request has: its texts and media, counted or estimated."""
