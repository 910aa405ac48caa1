"""SpatialBrain: recipes for spatial (multi-microphone) audio.

Layers, lowest first: geometry; simulation and dataio; processing, augment and
nnet; models, metrics and datasets; inference, reporting and experiment; cli. A
layer imports only layers below it.
"""

import os

# Threads of small networks wait at thousands of barriers a second. Where one
# other process runs they would spin there for most of the time (fifty times
# slower steps on two cores). It counts when PyTorch is loaded after this.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
