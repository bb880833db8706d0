"""One request, by any transport: its kind of work, its life from arrival to end, its failure."""
