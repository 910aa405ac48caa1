"""Which impulse responses a two-ear mixture is heard through.

All classes here have ``fs`` and ``responses(mixture) -> [C, 2, L]``, which is
what a ``MixtureRenderer`` asks for.
"""

import hashlib

import numpy as np

# A response begins where it first comes this close to its peak.
_ONSET = 0.1


def direct_onset(response):
    """Sample at which the direct sound arrives at the nearer ear.

    Where the response of either ear first reaches a tenth (-20 dB) of the
    highest magnitude of both.

    Arguments
    ---------
    response : numpy.ndarray
        Shape [2, L].

    Returns
    -------
    int
        0 for a silent response.

    Example
    -------
    >>> direct_onset(np.array([[0.0, 0.0, 0.0, 0.5], [0.0, 0.01, 1.0, 0.0]]))
    2
    """
    envelope = np.abs(response).max(0)
    return int(np.argmax(envelope >= _ONSET * envelope.max()))


def fingerprint(responses, names, fs):
    """Checksum of impulse responses.

    Arguments
    ---------
    responses : numpy.ndarray
        Of any shape.
    names : sequence of str
        What they are called.
    fs : int
        Their rate, Hz.

    Returns
    -------
    str
        Hexadecimal.

    Example
    -------
    >>> fingerprint(np.zeros(2), ["a"], 8000)[:8]
    '203abb28'
    """
    checksum = hashlib.sha256(repr((list(names), int(fs))).encode())
    checksum.update(np.ascontiguousarray(responses).tobytes())
    return checksum.hexdigest()


class HeadResponses:
    """Free-field responses of a set of heads.

    Arguments
    ---------
    heads : HrtfSet
        From ``load_hrtfs``. Directions off its grid are heard from the
        nearest direction on it.

    Example
    -------
    >>> from spatial_brain.datasets.binaural_mixtures import BinauralMixture
    >>> from spatial_brain.simulation.hrtf import spherical_head_hrtfs
    >>> heads = HeadResponses(spherical_head_hrtfs(8000, ["subject03"]))
    >>> mixture = BinauralMixture(
    ...     "x", ("a.wav",), ("a",), (1.0,), (-80.0,), head="subject03"
    ... )
    >>> left, right = heads.responses(mixture)[0]
    >>> bool((left**2).sum() > (right**2).sum())
    True
    """

    def __init__(self, heads):
        self.fs = heads.fs
        self._heads = heads
        self._places = {}

    @property
    def fingerprint(self):
        """Checksum of names and responses."""
        return fingerprint(
            self._heads.responses.numpy(), self._heads.subjects, self.fs
        )

    def responses(self, mixture):
        """Responses of the talkers of a mixture.

        Arguments
        ---------
        mixture : BinauralMixture
            Its ``head``, ``laterals`` and ``polars`` are looked at.

        Returns
        -------
        numpy.ndarray
            float64 [C, 2, L], ear 0 left.

        Raises
        ------
        ValueError
            If the head is not in the set.
        """
        try:
            subject = self._heads.index(mixture.head)
        except ValueError as error:
            raise ValueError(
                f"mixture {mixture.name}: {error}; give the HRTFs the list "
                "was made for"
            ) from error
        return np.stack(
            [
                self._heads.responses[(subject, *self._place(*direction))]
                .double()
                .numpy()
                for direction in zip(
                    mixture.laterals, mixture.polars, strict=True
                )
            ]
        )

    def _place(self, lateral, polar):
        """Indices of a direction, which are looked up once."""
        if (lateral, polar) not in self._places:
            place = self._heads.nearest(lateral, polar)
            self._places[lateral, polar] = tuple(int(i) for i in place)
        return self._places[lateral, polar]
