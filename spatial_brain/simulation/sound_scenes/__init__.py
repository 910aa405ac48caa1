"""Sound scenes for SELD: planned, then rendered."""
