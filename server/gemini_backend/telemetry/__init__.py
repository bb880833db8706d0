"""What is going on: events and those who listen to them."""
