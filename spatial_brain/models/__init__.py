"""Complete networks, one file each."""
