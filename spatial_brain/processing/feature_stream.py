"""Spectral features of live sound, frame by frame."""

import torch


class FeatureStream:
    """Features of a recording that comes chunk by chunk.

    Together they are the features of the whole recording, whatever the
    chunks. A frame comes out when its last sample is there, half a transform
    after its centre.

    Arguments
    ---------
    features : spatial_brain.processing.stft.SpectralFeatures
        Whose frames depend on nothing but their samples
        (``frame_by_frame``).

    Raises
    ------
    ValueError
        If features depend on the whole recording.

    Example
    -------
    >>> from spatial_brain.processing.seld_features import LogMelIntensity
    >>> stream = FeatureStream(LogMelIntensity(24000))
    >>> [stream.push(torch.randn(n, 4)).shape[1] for n in (400, 240, 2400)]
    [0, 1, 10]
    >>> stream.flush().shape
    torch.Size([7, 2, 64])
    """

    def __init__(self, features):
        if not features.frame_by_frame:
            raise ValueError(
                f"{type(features).__name__} depend on the whole recording: "
                "they have no live form"
            )
        self.features = features
        self._half = features.n_fft // 2
        self.reset()

    def reset(self):
        """Forget all input; the next chunk begins a recording."""
        self._chunks, self._begun = [], False
        # First sample of those kept, counted from half a transform before
        # the recording; frames given; samples taken.
        self._start = self._given = self._taken = 0

    def push(self, chunk):
        """Take a chunk, give the frames that it completes.

        Arguments
        ---------
        chunk : torch.Tensor
            [time, channel], of any length.

        Returns
        -------
        torch.Tensor
            [num_channels, frame, num_bins], perhaps of no frames.

        Raises
        ------
        ValueError
            For a wrong number of channels.
        """
        features, channels = self.features, self.features.in_channels
        if chunk.ndim != 2 or chunk.shape[1] != channels:
            raise ValueError(
                f"expected a chunk [time, {channels} channels], got "
                f"{list(chunk.shape)}"
            )
        self._chunks.append(chunk.float())
        self._taken += len(chunk)
        if not self._begun:
            if self._taken <= self._half:
                return self._give(0)
            samples = torch.cat(self._chunks)
            before = self._beyond(samples[1 : self._half + 1])
            self._chunks, self._begun = [before, samples], True
        there = self._half + self._taken - features.n_fft
        number = max(0, there // features.hop_length + 1)
        return self._give(min(number, self._total()))

    def flush(self):
        """Give the frames of the end, and forget the recording.

        Returns
        -------
        torch.Tensor
            As ``push``.

        Raises
        ------
        ValueError
            If the recording was too short for a frame.
        """
        if self._taken and not self._begun:
            found = self.features(torch.cat(self._chunks)[None])[0]
        elif self._taken:
            samples = torch.cat(self._chunks)
            behind = self._beyond(samples[-self._half - 1 : -1])
            self._chunks = [samples, behind]
            found = self._give(self._total())
        else:
            found = self._give(0)
        self.reset()
        return found

    def _total(self):
        """Frames of a recording that ends here."""
        frames = self._taken // self.features.hop_length
        return frames if self.features.drop_last else frames + 1

    def _beyond(self, samples):
        """What is beyond an end, from the samples next to it."""
        if self.features.pad_mode == "reflect":
            return samples.flip(0)
        return torch.zeros_like(samples)

    @torch.no_grad()
    def _give(self, number):
        """Features of the frames before a number that were not given yet."""
        features, hop = self.features, self.features.hop_length
        count = number - self._given
        if count <= 0:
            return torch.zeros(features.num_channels, 0, features.num_bins)
        samples = torch.cat(self._chunks)
        first = self._given * hop - self._start
        stop = first + (count - 1) * hop + features.n_fft
        frames = samples[first:stop].T.unfold(-1, features.n_fft, hop)
        found = features.features(*features.spectra(frames[None]))[0]
        self._given = number
        # Kept are the next frame's, and what the end would be made of.
        start = min(number * hop, self._taken - 1)
        self._chunks = [samples[start - self._start :]]
        self._start = start
        return found
