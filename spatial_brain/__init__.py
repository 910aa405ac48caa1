"""SpatialBrain: recipes for spatial (multi-microphone) audio.

Rooms, ground floor first: geometry; simulation and dataio; processing and
nnet; models, metrics and datasets; inference, reporting and
experiment; cli. A floor imports only floors below it.
"""

__version__ = "0.1.0"
