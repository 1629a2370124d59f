"""An encoder and a recommender trained together: the one place where the two meet as modules."""
