#!/usr/bin/env python3
"""The network for two microphones beside methods that need no training.

> python benchmarks/pretrained_models/two_microphones.py --data D --results F

As any_array.py: of R3VIVAL the front and the back microphone, 9.6 cm apart;
simulated scenes of recipes/AnyArray/hparams/two_microphones.yaml. Both sides of
a pair are alike: directions are compared on one. SRP-PHAT of two microphones is
GCC-PHAT.
"""

from any_array import measure

if __name__ == "__main__":
    measure(__doc__, "two-microphones", "two_microphones.yaml", [0, 1])
