"""Directions of talkers with any array, by one trained network."""

import math

import ruamel.yaml

from spatial_brain.geometry import MicrophoneArray
from spatial_brain.inference.array_directions.network_finder import (
    NetworkFinder,
)
from spatial_brain.inference.pretrained import PretrainedModel
from spatial_brain.inference.pretrained.source import ModelSource, read_text

# Key of a model's YAML that only models of this kind have.
_MARK = "num_directions"


class AnyArrayLocalizer(PretrainedModel):
    """Finds the talkers of recordings of any array of microphones.

    The folder's YAML gives ``modules: {model}``, called with a waveform
    [batch, time, microphone] and positions [batch, microphone, 3] for logits
    [batch, frame, direction], and with ``stream(positions)``; ``sample_rate``
    (Hz); ``frame_length``, ``window_length`` and ``hop_length`` (seconds); and
    ``num_directions``, azimuths from -180 degrees on. ``calibration`` of the
    model's card holds ``weights`` of the confidence, see
    :mod:`spatial_brain.inference.array_directions.confidence`; without them
    there is none.

    Arguments
    ---------
    *args, **kwargs
        Those of :class:`spatial_brain.inference.pretrained.PretrainedModel`.

    Example
    -------
    >>> import torch
    >>> from spatial_brain.models.any_array import AnyArrayNetwork
    >>> network = AnyArrayNetwork(channels=8, dilations=(1,))
    >>> localizer = AnyArrayLocalizer({"model": network}, {
    ...     "sample_rate": 16000, "window_length": 1.024, "hop_length": 0.256,
    ...     "frame_length": 0.064, "num_directions": 72}, {"device": "cpu"})
    >>> finder = localizer.finder("circular:4x0.05", sources=1)
    >>> finder.localize_batch(torch.randn(2, 16000, 4)).degrees.shape
    torch.Size([2, 1])
    """

    HPARAMS_NEEDED = [
        "sample_rate",
        "window_length",
        "hop_length",
        "frame_length",
        "num_directions",
    ]
    MODULES_NEEDED = ["model"]

    @property
    def weights(self):
        """Weights of the confidence, a list of numbers; None without."""
        calibration = self.card and self.card.calibration
        return calibration["weights"] if calibration else None

    def finder(self, array, name="any-array", *, resample=False, **options):
        """What finds the talkers of recordings of an array.

        Arguments
        ---------
        array : MicrophoneArray, str or Path
            The array, its name (``spatial-brain arrays``), or its file.
        name : str
            Of the model, for results.
        resample : bool
            Convert recordings of another sampling rate.
        **options
            Those of ``array_directions.finder.DirectionFinder``: ``sources``,
            ``window``, ``hop``, ``keep_map``, ``speech_only``, ``distance``.

        Returns
        -------
        spatial_brain.inference.array_directions.network_finder.NetworkFinder
            With ``localize_file``, ``localize_batch`` and ``stream``.

        Raises
        ------
        ValueError
            If array or an option is none.
        """
        return NetworkFinder(self, array, name, resample=resample, **options)

    def localize_file(self, path, array, channels=None, **options):
        """Directions of the talkers of a recording, over time.

        Arguments
        ---------
        path : str or Path
            Recording whose channels are the microphones.
        array : MicrophoneArray, str or Path
            As for :meth:`finder`.
        channels : sequence of int, optional
            Which channels to use, from 0, in the order of the microphones.
        **options
            Those of :meth:`finder`.

        Returns
        -------
        Localization
        """
        return self.finder(array, **options).localize_file(path, channels)

    def forward(self, waveform, array, lengths=None, **options):
        """Directions of the talkers of each signal of a batch.

        Arguments
        ---------
        waveform : torch.Tensor
            [batch, time, microphone], at the model's sampling rate.
        array : MicrophoneArray, str or Path
            As for :meth:`finder`.
        lengths : torch.Tensor, optional
            Relative lengths in (0, 1], [batch].
        **options
            Those of :meth:`finder`.

        Returns
        -------
        Directions
        """
        finder = self.finder(array, **options)
        return finder.localize_batch(
            waveform, lengths, self.hparams.sample_rate
        )

    def contradictions(self, array):
        """What of an array is outside of what the model was trained for.

        Arguments
        ---------
        array : MicrophoneArray, str or Path
            The array.

        Returns
        -------
        list of str
            A sentence each; without a card none.

        Example
        -------
        >>> import torch
        >>> from spatial_brain.inference.pretrained.card import make_card
        >>> localizer = AnyArrayLocalizer({"model": torch.nn.Identity()}, {
        ...     "sample_rate": 16000, "window_length": 1.024,
        ...     "hop_length": 0.256, "frame_length": 0.064,
        ...     "num_directions": 72}, {"device": "cpu"})
        >>> localizer.card = make_card({"task": "d", "spacing": [0.03, 0.25]})
        >>> localizer.contradictions("pair:0.5")
        ['the microphones are 0.5 m apart, the model was trained for 0.03 to
        0.25 m; do not trust the directions']
        """
        array, found = MicrophoneArray.resolve(array), []
        if self.card is None:
            return found
        channels = self.card.channels
        if isinstance(channels, int):
            channels = [channels, channels]
        if channels and not channels[0] <= len(array) <= channels[1]:
            found.append(
                f"the array has {len(array)} microphones, the model was "
                f"trained for {' to '.join(map(str, sorted(set(channels))))}"
            )
        distances = array.distances
        nearest = distances.clone().fill_diagonal_(math.inf).min().item()
        for spacing in dict.fromkeys((nearest, array.aperture)):
            found += self.card.contradictions(spacing=spacing)
        return [f"{text}; do not trust the directions" for text in found]


def is_any_array(source, savedir=None):
    """Whether a model is one for any array.

    Arguments
    ---------
    source, savedir : str or Path
        As for ``PretrainedModel.from_hparams``.

    Returns
    -------
    bool
        False, too, if there is no such model: loading it says so.

    Raises
    ------
    ValueError
        If its YAML cannot be read.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "hyperparams.yaml").write_text("num_directions: 72")
    >>> is_any_array(folder)
    True
    """
    name = "hyperparams.yaml"
    try:
        path = ModelSource(source, name, savedir).get(name)
    except FileNotFoundError:
        return False
    if path is None:
        return False
    try:
        root = ruamel.yaml.YAML().compose(read_text(path))
    except ruamel.yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML file: {error}") from error
    keys = getattr(root, "value", ())
    return any(key.value == _MARK for key, _ in keys)
