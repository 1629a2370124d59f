"""CLIP and its relatives: two streams, a picture network and a text network trained together."""
