"""Image and text vectors joined by item id: extracted, imported, or made as controls."""
