"""One thin command per stage of dvc.yaml: read params and inputs, call lmm4rec, write outputs."""
