"""Room impulse responses: one function, several back ends."""
