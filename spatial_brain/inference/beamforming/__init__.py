"""The sound from a direction, of recordings of an array of known geometry."""
