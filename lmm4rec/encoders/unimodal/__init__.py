"""A picture network of timm and a text network of transformers that never saw each other."""
