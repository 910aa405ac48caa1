"""Live sound: where it comes from, and what is found in it as it comes."""
