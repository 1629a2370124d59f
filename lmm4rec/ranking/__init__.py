"""Exact top-k of inner products, ties by item id, and the ragged rows of what users have."""
