"""What runs the stages: how each starts and fails, and several of them at once."""
