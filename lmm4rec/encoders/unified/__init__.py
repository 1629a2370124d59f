"""BEiT-3 and VLMo: one body with an expert for each modality, and the tokenizers they read with."""
