"""Directions of the sources of an array by a trained network."""

import numpy as np

from spatial_brain.dataio.audio import audio_info, describe, open_audio
from spatial_brain.inference.array_checks.finding import Finding
from spatial_brain.inference.array_directions.confidence import (
    NoisePeaks,
    probability,
)
from spatial_brain.inference.array_directions.finder import DirectionFinder
from spatial_brain.inference.array_directions.network_maps import (
    NetworkBlockStream,
    NetworkMaps,
)
from spatial_brain.processing.directions.grid import DirectionGrid

# Heights are probabilities already: all arrays have one reference.
NOISE = NoisePeaks(0.1, 0.0, 0.0)
# Degrees between the azimuths of a map over time.
_RESOLUTION = 2.0


class NetworkFinder(DirectionFinder):
    """Finds the sources of recordings of an array by a network for any array.

    Made by :meth:`spatial_brain.inference.any_array.AnyArrayLocalizer.finder`.

    Arguments
    ---------
    model : AnyArrayLocalizer
        The network, its windows and its card.
    array : MicrophoneArray, str or Path
        As for :class:`DirectionFinder`.
    method : str
        Name of the model, for results.
    resample : bool
        Whether recordings of a lower sampling rate than the network's are
        converted; those of a higher one always are.
    **options
        Those of :class:`DirectionFinder`.

    Raises
    ------
    ValueError
        As :class:`DirectionFinder`; for Ambisonics.
    """

    def __init__(self, model, array, method, *, resample=False, **options):
        self.model, self.resample = model, resample
        hparams = model.hparams
        if "window" not in options:
            options["window"] = hparams.window_length
            options.setdefault("hop", hparams.hop_length)
        super().__init__(array, method, **options)

    def _check_method(self, method, sources):
        """Refuse what is no array."""
        if self.ambisonic:
            raise ValueError(
                f"{method} needs delays between microphones, which Ambisonics "
                "has not; use --method mixture"
            )

    def _grid(self):
        """Azimuths; of a plane that mirrors them with its normal."""
        grid = DirectionGrid.circle(_RESOLUTION)
        if self.array.dimensions == 2:
            grid.normal = DirectionGrid.for_array(self.array.positions).normal
        return grid

    def localize_file(self, path, channels=None, show_progress=False):
        """Directions of the sources of a recording, over time.

        Arguments
        ---------
        path : str or Path
            Recording whose channels are the microphones.
        channels : sequence of int, optional
            As for :meth:`DirectionFinder.localize_file`.
        show_progress : bool
            Draw a progress bar on standard error.

        Returns
        -------
        Localization

        Raises
        ------
        FileNotFoundError, ValueError
            As there; if the recording has a lower sampling rate and is not to
            be converted.
        """
        with open_audio(path) as file:
            self._check_rate(describe(file, path).fs, f"{path}: ")
        return super().localize_file(path, channels, show_progress)

    def _check_rate(self, fs, where=""):
        """Refuse a lower sampling rate, unless it is to be converted."""
        wanted = self.model.hparams.sample_rate
        if fs < wanted and not self.resample:
            raise ValueError(
                f"{where}a sampling rate of {fs:g} Hz, the model needs "
                f"{wanted} Hz; --resample (resample=True) converts"
            )

    def locator(self, fs):
        """The network at a sampling rate.

        Arguments
        ---------
        fs : int
            Hertz.

        Returns
        -------
        NetworkMaps

        Raises
        ------
        ValueError
            If it is lower than the network's and not to be converted.
        """
        self._check_rate(fs)
        if fs not in self._locators:
            hparams = self.model.hparams
            frames = [
                max(1, round(length / hparams.frame_length))
                for length in (self.window, self.hop)
            ]
            self._locators[fs] = NetworkMaps(
                self.model.mods.model,
                self.array.positions,
                int(fs),
                self.grid,
                window=frames[0],
                hop=frames[1],
                sample_rate=hparams.sample_rate,
                frame_length=round(hparams.frame_length * hparams.sample_rate),
                num_directions=hparams.num_directions,
            )
        return self._locators[fs]

    def block_stream(self, fs):
        """What gives the evidence of live sound, chunk by chunk.

        Arguments
        ---------
        fs : int
            Hertz.

        Returns
        -------
        NetworkBlockStream
        """
        return NetworkBlockStream(self.locator(fs))

    def noise_peaks(self, fs):
        """Reference of the heights of peaks, the same for all arrays.

        Arguments
        ---------
        fs : float
            Not used.

        Returns
        -------
        NoisePeaks
        """
        return NOISE

    @property
    def has_confidence(self):
        """Whether the model is calibrated."""
        return self.model.weights is not None

    def sure(self, azimuth, elevation, height, fs):
        """Probabilities that directions are right, or else their heights.

        Arguments
        ---------
        azimuth, elevation, height, fs
            As for :meth:`DirectionFinder.sure`.

        Returns
        -------
        numpy.ndarray
            [window, direction]; 0 where there is no direction.
        """
        if not self.has_confidence:
            return np.where(np.isnan(azimuth), 0.0, height)
        found = azimuth, elevation, height
        return probability(self.model.weights, *found, NOISE)

    def _findings(self, path, channels):
        """What is suspicious, but for what other methods have a remedy for."""
        found = super()._findings(path, channels)
        found = [one for one in found if one.kind != "spacing_aliasing"]
        fs, wanted = audio_info(path).fs, self.model.hparams.sample_rate
        if fs != wanted:
            text = f"{fs:g} Hz, converted to the {wanted} Hz of the model"
            found.append(Finding("converted", "note", (), text))
        return found

    def limits(self):
        """What is outside of what the model was trained for.

        Returns
        -------
        list of Finding
        """
        messages = self.model.contradictions(self.array)
        if not self.has_confidence:
            messages.append(
                "the model is not calibrated: no confidence is known"
            )
        return [
            Finding("outside_of_card", "warning", (), message)
            for message in messages
        ]
