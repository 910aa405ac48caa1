"""Writers of synthetic data in the formats of the corpora."""
