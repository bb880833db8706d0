"""What requests and answers come to: tokens of a request, the pieces of an answer as a whole."""
