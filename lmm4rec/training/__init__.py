"""Training of recommenders: sampling, validation, early stopping, and the vectors that remain."""
