"""Who speaks from where, heard by whom: scenes of a binaural mixture.

As in Binaural-WSJ0Mix: different talkers, one head for all of them, and each
of them at another azimuth.
"""

from typing import NamedTuple

import numpy as np

from spatial_brain.simulation.hrtf import CIPIC_LATERALS, CIPIC_POLARS

# Tries to place all talkers before it is given up.
_TRIES = 10000


class Scene(NamedTuple):
    """Choices that make a mixture, but for its levels.

    Arguments
    ---------
    utterances : list of str
        Ids, of different speakers.
    listener : str
        Name of the head, or of the room it is in.
    laterals : list of float
        Degrees to the right, all different.
    polars : list of float
        Degrees.
    """

    utterances: list
    listener: str
    laterals: list
    polars: list


class SceneDrawer:
    """Draws scenes from the speech and the listeners of one set.

    A talker is as likely as the share of his or her utterances. Listeners
    are uniform; so are azimuths, within what ``min_gap`` allows, and
    elevations, which do not depend on each other.

    Arguments
    ---------
    speech : dict
        Id of an utterance to ``speaker`` and ``num_samples``.
    listeners : sequence of str
        Names of heads or rooms.
    num_speakers : int
        Talkers in a scene.
    min_gap : float
        Least difference of the azimuths of two talkers, degrees; azimuths
        differ in any case.
    laterals : sequence of float
        Azimuths to choose from, degrees to the right.
    polars : sequence of float
        Elevations to choose from, degrees in CIPIC's polar angle.
    min_samples : int
        Shorter utterances are left out.

    Raises
    ------
    ValueError
        If there are too few speakers, no listener, or no place for all
        talkers.

    Example
    -------
    >>> speech = {s: {"speaker": s, "num_samples": 9} for s in "abc"}
    >>> drawer = SceneDrawer(speech, ["subject08"], min_gap=90)
    >>> scene = drawer.draw(np.random.default_rng(0))
    >>> len(scene.utterances), scene.listener
    (2, 'subject08')
    >>> abs(scene.laterals[0] - scene.laterals[1]) >= 90
    True
    """

    def __init__(
        self,
        speech,
        listeners,
        *,
        num_speakers=2,
        min_gap=0.0,
        laterals=CIPIC_LATERALS,
        polars=CIPIC_POLARS,
        min_samples=1,
    ):
        speakers = {}
        for key, entry in speech.items():
            if entry["num_samples"] >= min_samples:
                speakers.setdefault(entry["speaker"], []).append(key)
        if num_speakers < 1 or len(speakers) < num_speakers:
            raise ValueError(
                f"mixtures of {num_speakers} talkers need as many speakers; "
                f"there are {len(speakers)} (of {len(speech)} utterances, with "
                f"at least {min_samples} samples): "
                f"{', '.join(sorted(speakers)[:10])}. Give more speech for "
                "this set"
            )
        self.listeners = list(listeners)
        if not self.listeners:
            raise ValueError("scenes need at least one head or room")
        self.utterances = list(speakers.values())
        self.share = np.array([len(keys) for keys in self.utterances], float)
        self.num_speakers, self.min_gap = num_speakers, min_gap
        self.laterals = np.array(sorted(laterals), float)
        self.polars = np.array(polars, float)
        self._check_places()

    def _check_places(self):
        """Put talkers as close as allowed: do all find a place."""
        placed, last = 0, -np.inf
        for lateral in self.laterals:
            if lateral - last >= self.min_gap and lateral > last:
                placed, last = placed + 1, lateral
        if placed < self.num_speakers:
            raise ValueError(
                f"no place for {self.num_speakers} talkers at least "
                f"{self.min_gap:g} degrees apart between azimuths "
                f"{self.laterals[0]:g} and {self.laterals[-1]:g}: {placed} "
                "find one. Choose a smaller min_gap"
            )

    def draw(self, rng):
        """Draw a scene.

        Arguments
        ---------
        rng : numpy.random.Generator
            Source of all choices.

        Returns
        -------
        Scene
        """
        share = self.share.copy()
        utterances = []
        for _ in range(self.num_speakers):
            speaker = int(rng.choice(len(share), p=share / share.sum()))
            share[speaker] = 0.0
            keys = self.utterances[speaker]
            utterances.append(keys[rng.integers(len(keys))])
        listener = self.listeners[rng.integers(len(self.listeners))]
        polars = rng.choice(self.polars, self.num_speakers)
        return Scene(
            utterances,
            listener,
            self._laterals(rng),
            polars.tolist(),
        )

    def _laterals(self, rng):
        """Azimuths far enough from each other, in random order."""
        for _ in range(_TRIES):
            laterals = rng.choice(
                self.laterals, self.num_speakers, replace=False
            )
            gaps = np.diff(np.sort(laterals))
            if not (gaps < self.min_gap).any():
                return laterals.tolist()
        raise ValueError(
            f"no azimuths of {self.num_speakers} talkers at least "
            f"{self.min_gap:g} degrees apart in {_TRIES} tries; choose a "
            "smaller min_gap"
        )
