"""Corpora of spatial sound scenes, written by any number of processes."""
