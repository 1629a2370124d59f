"""A raw catalogue: somebody's files with a recipe, read into interactions, items and pictures."""
