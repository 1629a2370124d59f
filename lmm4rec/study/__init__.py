"""What is to be run: the names under `run` in params.yaml, checked before anything is computed."""
