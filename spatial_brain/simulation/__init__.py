"""Physics: rooms, impulse responses, noise fields, scenes."""
