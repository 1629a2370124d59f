"""What lists are worth: metrics by their definitions, for every user, and their means."""
