"""User-item and item-item graphs, and their fast products."""
