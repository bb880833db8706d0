"""What a request comes to before it is sent: its tokens, by kind of medium."""
