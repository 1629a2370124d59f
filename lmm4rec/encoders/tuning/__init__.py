"""Training an encoder: on a catalogue's pairs (fine-tuning) and from scratch (tiny ones)."""
