"""Examples of two microphones: drawn on access, in volumes, in wav files."""
