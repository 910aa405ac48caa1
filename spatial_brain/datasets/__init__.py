"""One file a data set: preparation, reader, writer of synthetic data."""
