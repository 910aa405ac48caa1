"""One package a data set or family: preparation, reader, synthetic data."""
