"""Outputs of localisers as networks give them for no, one and two talkers."""

import numpy as np
import torch

CLASSES = 72


def outputs(angles, width=4.0, noise=0.3, seed=0):
    """Logits of Gaussian posteriors about angles [recording, output]."""
    rng = np.random.default_rng(seed)
    centres = (np.arange(CLASSES) + 0.5) * 180 / CLASSES
    away = centres - np.asarray(angles)[..., None]
    logits = -((away / width) ** 2) / 2 + noise * rng.standard_normal(
        away.shape
    )
    return torch.from_numpy(logits).float()


def recordings(number, seed):
    """Outputs and true directions of recordings with 0, 1 and 2 talkers.

    As the networks do: of one talker both outputs are near it, of noise both
    are flat, and now and then one is off.
    """
    rng = np.random.default_rng(seed)
    two = rng.uniform(20, 75, (number, 2)) + [0.0, 85.0]
    one = two[:, :1] + rng.normal(0, 3, (number, 2))
    wrong = rng.random(number) < 0.15
    two_found = np.where(wrong[:, None], two + [0.0, 30.0], two)
    flat = rng.uniform(0, 180, (number, 2))
    logits = torch.cat(
        [
            outputs(flat, 60.0, seed=seed),
            outputs(one, seed=seed + 1),
            # What is off is less sharp.
            torch.where(
                torch.from_numpy(wrong)[:, None, None],
                outputs(two_found, 15.0, seed=seed + 2),
                outputs(two_found, seed=seed + 3),
            ),
        ]
    )
    none = np.full((number, 2), np.nan)
    first = np.where([True, False], two, np.nan)
    return logits, np.concatenate([none, first, two])
