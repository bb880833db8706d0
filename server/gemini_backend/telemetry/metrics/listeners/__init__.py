"""Listeners that count one kind of event each."""
