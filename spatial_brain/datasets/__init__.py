"""One file a data set: preparation, reader, look-alike writer."""
