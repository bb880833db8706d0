"""What is checked or filled in before anything is sent: rules, deadline, model."""
