"""Input features of networks for sound event localization and detection.

Each class is a module which maps a waveform [batch, time, 4] to features
[batch, channel, frame, bin] on the waveform's device, in float32, and is
differentiable. First-order Ambisonics (FOA) has the channels W, Y, Z, X with
SN3D gains; "mic" is any array of four microphones.

Their values are not normalised, because augmentations work on them as they
are: a network begins with a batch normalisation.

`Salsa` and `SalsaLite` keep the frequencies apart, so that level and spatial
cue of a sound lie in the same place of the map. Sources: Nguyen et al., "SALSA:
Spatial Cue-Augmented Log-Spectrogram Features for Polyphonic Sound Event
Localization and Detection", IEEE/ACM TASLP 30, 2022; Nguyen et al.,
"SALSA-Lite", ICASSP 2022.
"""

import math

import torch
from torch.nn import functional as F

from spatial_brain.geometry import SPEED_OF_SOUND
from spatial_brain.loadable import loadable
from spatial_brain.processing.spatial import microphone_pairs, phase_difference
from spatial_brain.processing.stft import (
    SpectralFeatures,
    decibels,
    mel_filter_bank,
)

LOWEST = 50.0  # Hz, of the spatial channels
HIGHEST = 9000.0  # Hz, of spectra in full resolution
_PATH_LIMIT = {"foa": HIGHEST, "mic": 4000.0}
_MATRICES = 1 << 16  # decomposed at once, which bounds the memory
NUM_LAGS = 64
FORMATS = ("foa", "mic")
_TINY = 1e-30  # keeps the slope of a square root at zero finite


def _bin_below(frequency, sample_rate, n_fft):
    """Highest bin not above a frequency."""
    return math.floor(min(frequency, sample_rate / 2) * n_fft / sample_rate)


@loadable
class SalsaLite(SpectralFeatures):
    """Log power spectra and path differences of four microphones.

    Channels 0-3 are 10 log10 of the power spectra (at least -100 dB); channels
    4-6 the phase differences of microphones 1-3 to microphone 0 as lengths in
    metres: angle(S_m S_0*) c / (2 pi f), positive if microphone m is nearer to
    the source. Above 2 kHz, where phases are ambiguous on a sphere of 4.2 cm,
    they are 0. Bins from 50 Hz to 9 kHz.

    Arguments
    ---------
    sample_rate : int
        Hertz.
    n_fft : int
        Length of the transform, samples.
    baseline : bool
        Frames of the DCASE baselines (every 20 ms, window of 40 ms,
        floor(time / hop) of them, zeros at the ends) instead of frames every
        10 ms with a window as long as the transform.
    compat : bool
        The published programs count the limit of 2 kHz from the first bin
        used, not from 0 Hz; at 24 kHz phases then reach 2 bins higher. True
        repeats that.
    highest_phase : float
        Limit of the phases, hertz.

    Example
    -------
    >>> SalsaLite()(torch.randn(1, 24000, 4)).shape
    torch.Size([1, 7, 101, 382])
    >>> SalsaLite(baseline=True)(torch.randn(1, 24000, 4)).shape
    torch.Size([1, 7, 50, 382])
    """

    num_channels = 7

    def __init__(
        self,
        sample_rate=24000,
        n_fft=1024,
        baseline=False,
        compat=False,
        highest_phase=2000.0,
    ):
        hop = sample_rate // (50 if baseline else 100)
        super().__init__(
            n_fft,
            hop,
            2 * hop if baseline else n_fft,
            "constant" if baseline else "reflect",
            drop_last=baseline,
        )
        self.sample_rate = sample_rate
        lower = max(1, _bin_below(LOWEST, sample_rate, n_fft))
        upper = _bin_below(highest_phase, sample_rate, n_fft)
        cutoff = _bin_below(HIGHEST, sample_rate, n_fft)
        if not lower < upper <= cutoff:
            raise ValueError(
                f"highest_phase must be between {LOWEST:g} and {HIGHEST:g} Hz "
                f"and n_fft resolve it, got {highest_phase} and n_fft={n_fft}"
            )
        self.used = slice(lower, cutoff)
        self.num_bins = cutoff - lower
        self.num_phases = min(upper if compat else upper - lower, self.num_bins)
        metres = SPEED_OF_SOUND * n_fft / (2 * math.pi * sample_rate)
        bins = torch.arange(lower, lower + self.num_phases)
        self.register_buffer("metres", metres / bins, persistent=False)

    def features(self, real, imag):
        """Map spectra [batch, 4, frame, bin] to [batch, 7, frame, bin]."""
        real, imag = real[..., self.used], imag[..., self.used]
        level = decibels(real.square() + imag.square())
        real, imag = (p[..., : self.num_phases] for p in (real, imag))
        path = self.metres * torch.atan2(
            imag[:, 1:] * real[:, :1] - real[:, 1:] * imag[:, :1],
            real[:, 1:] * real[:, :1] + imag[:, 1:] * imag[:, :1],
        )
        path = F.pad(path, (0, self.num_bins - self.num_phases))
        return torch.cat((level, path), dim=1)


@loadable
class Salsa(SpectralFeatures):
    """Log spectra and principal eigenvectors of four channels.

    Channels 0-3 are 10 log10 of the power spectra: every bin from 1 up to
    9 kHz, above that means over 8 bins. Channels 4-6 hold the direction of a
    bin by the principal eigenvector v of the spatial covariance over 7 frames:
    for ``"foa"`` Re(v_m v_0*) of m = Y, Z, X scaled to length 1, up to 9 kHz;
    for ``"mic"`` angle(v_m v_0*) c / (2 pi f), metres, up to 4 kHz. Bins that
    do not pass two tests hold 0: their level must exceed 1.5 times a tracked
    noise floor, and the first eigenvalue ``condition`` times the second (one
    source dominates). No gradient passes through channels 4-6.

    Differences to the authors' program: frames beyond the ends count as
    silent (there: the signal wraps around), and the last band is a true mean.

    Arguments
    ---------
    format : str
        ``"foa"`` or ``"mic"``.
    sample_rate : int
        Hertz.
    n_fft : int
        Length of window (periodic Hann) and transform, samples.
    hop_length : int, optional
        Samples from frame to frame; default 10 ms (the paper: 300 at 24 kHz).
    condition : float
        Least ratio of the first to the second eigenvalue.
    tracking : bool
        Whether to test the level.

    Example
    -------
    >>> Salsa("foa")(torch.randn(1, 24000, 4)).shape
    torch.Size([1, 7, 101, 200])
    """

    num_channels = 7
    frame_by_frame = False
    CONTEXT = 3  # frames on either side
    BAND = 8  # bins to a band above 9 kHz

    def __init__(
        self,
        format="foa",
        sample_rate=24000,
        n_fft=512,
        hop_length=None,
        condition=5.0,
        tracking=True,
    ):
        if format not in _PATH_LIMIT:
            raise ValueError(
                f"format must be one of {tuple(_PATH_LIMIT)}, got {format!r}"
            )
        super().__init__(n_fft, hop_length or sample_rate // 100)
        self.format, self.sample_rate = format, sample_rate
        self.condition, self.tracking = condition, tracking
        self.single = _bin_below(HIGHEST, sample_rate, n_fft)
        self.first = max(1, _bin_below(LOWEST, sample_rate, n_fft))
        self.last = _bin_below(_PATH_LIMIT[format], sample_rate, n_fft)
        high = n_fft // 2 - self.single
        self.num_bins = self.single + math.ceil(high / self.BAND)
        metres = SPEED_OF_SOUND * n_fft / (2 * math.pi * sample_rate)
        bins = torch.arange(self.first, self.last + 1)
        self.register_buffer("metres", metres / bins, persistent=False)

    def _compute(self, waveform):
        spectrum = torch.fft.rfft(self.frames(waveform) * self.window)
        power = spectrum.real.square() + spectrum.imag.square()
        level = decibels(self._bands(power[..., 1:]))
        with torch.no_grad():
            used = spectrum.detach()[..., self.first : self.last + 1]
            cue = self._directions(used)
        # The first feature bin is bin 1 of the transform.
        before = self.first - 1
        after = self.num_bins - before - cue.shape[-1]
        return torch.cat((level, F.pad(cue, (before, after))), dim=1)

    def _bands(self, power):
        """Average neighbouring bins above 9 kHz."""
        low, high = power[..., : self.single], power[..., self.single :]
        if high.shape[-1] == 0:
            return low
        parts = high.split(self.BAND, dim=-1)
        means = [part.mean(-1, keepdim=True) for part in parts]
        return torch.cat((low, *means), dim=-1)

    def _directions(self, spectrum):
        """Spatial cue of every bin, zero where unsure, [B, 3, T, F]."""
        batch, _, frames, bins = spectrum.shape
        context = F.pad(spectrum, (0, 0, self.CONTEXT, self.CONTEXT)).unfold(
            2, 2 * self.CONTEXT + 1, 1
        )
        loud = torch.ones(
            batch, frames, bins, dtype=torch.bool, device=spectrum.device
        )
        if self.tracking:
            loud = _above_noise(spectrum[:, 0].abs())
        cue = spectrum.real.new_zeros(batch, frames, bins, 3)
        rows = loud.nonzero()
        for b, t, f in (part.unbind(1) for part in rows.split(_MATRICES)):
            vectors = context[b, :, t, f]
            cue[b, t, f] = self._cue(vectors, self.metres[f])
        return cue.permute(0, 3, 1, 2)

    def _cue(self, vectors, metres):
        """Cue of some bins from their vectors [row, channel, context]."""
        # The scale does not matter; without it squares of quiet bins vanish.
        peak = vectors.abs().amax((1, 2), keepdim=True).clamp(min=1e-30)
        vectors = vectors / peak
        values, axes = torch.linalg.eigh(vectors @ vectors.mH)
        principal = axes[..., -1]
        relative = principal[:, 1:] * principal[:, :1].conj()
        if self.format == "foa":
            cue = F.normalize(relative.real, dim=-1)
        else:
            cue = relative.angle() * metres[:, None]
        coherent = values[:, -1] > self.condition * values[:, -2]
        return cue * coherent[:, None]


def _above_noise(magnitude):
    """Which bins [batch, frame, bin] stand out from a tracked noise floor."""
    # The level is the quadratic mean over the present frame and the two before;
    # the floor starts at half the mean of five frames and follows it by 2 % a
    # frame, upwards by 0.2 % from the fourth on (Nguyen et al., 2022).
    power = F.pad(magnitude.square(), (0, 0, 2, 0))
    recent = power[:, 2:] + power[:, 1:-1] + power[:, :-2]
    level = (recent / 3.0).sqrt()
    floor = 0.5 * level[:, :5].mean(1)
    patience = torch.full_like(floor, 3.0)
    found = []
    for now in level.unbind(1):
        above = now > floor
        patience = torch.where(above, patience - 1.0, 3.0)
        rise = torch.where(patience < 0.0, 1.002, 1.02)
        floor = (floor * torch.where(above, rise, 0.98)).clamp(min=1e-6)
        found.append(now > 1.5 * floor)
    return torch.stack(found, dim=1)


def _intensity(real, imag):
    """Active intensity Re(W* S) of Y, Z, X, [batch, 3, frame, bin]."""
    return real[:, :1] * real[:, 1:] + imag[:, :1] * imag[:, 1:]


def _lag_basis(n_fft, num_lags):
    """Inverse transform at a few lags: two matrices [bin, lag].

    With c and s the real and imaginary part of a spectrum, ``c @ first +
    s @ second`` is its inverse real transform at lags -num_lags / 2 to
    num_lags / 2 - 1. For so few lags this beats the fast transform.
    """
    lags = torch.arange(-num_lags // 2, num_lags // 2)
    bins = torch.arange(n_fft // 2 + 1)
    steps = (bins[:, None] * lags) % n_fft
    angle = steps.double() * (2 * math.pi / n_fft)
    weight = torch.full((len(bins), 1), 2.0 / n_fft, dtype=torch.float64)
    weight[0] = weight[-1] = 1.0 / n_fft
    return (weight * angle.cos()).float(), (-weight * angle.sin()).float()


class _LogMel(SpectralFeatures):
    """Frames of 10 ms and mel filters of log-mel spectra."""

    def __init__(
        self, sample_rate=24000, n_fft=1024, hop_length=None, n_mels=64
    ):
        super().__init__(n_fft, hop_length or sample_rate // 100)
        self.sample_rate, self.num_bins = sample_rate, n_mels
        bank = mel_filter_bank(sample_rate, n_fft, n_mels, f_min=20.0)
        self.register_buffer("bank", bank, persistent=False)


@loadable
class LogMelIntensity(_LogMel):
    """Log-mel spectra and intensity vector of an FOA signal, 10 ms a frame.

    Channels 0-3 are 10 log10 of the mel spectra of W, Y, Z, X (at least
    -100 dB); channels 4-6 the active intensity Re(W* S) of S = Y, Z, X,
    divided by its length per bin, through the same mel filters. For a plane
    wave from direction u they are (u_y, u_z, u_x) times the sums of the
    filters. Filters: HTK mel scale from 20 Hz to half the sampling rate, equal
    area. These are the features of PSELDNets (Hu et al., IEEE/ACM TASLP 33,
    2025), whose networks expect them.

    Arguments
    ---------
    sample_rate : int
        Hertz.
    n_fft : int
        Length of window (periodic Hann) and transform, samples.
    hop_length : int, optional
        Samples from frame to frame; default 10 ms.
    n_mels : int
        Mel bands.

    Example
    -------
    >>> features = LogMelIntensity(24000)
    >>> features(torch.randn(2, 24000, 4)).shape
    torch.Size([2, 7, 101, 64])
    >>> features.num_channels
    7
    """

    num_channels = 7

    def features(self, real, imag):
        """Map spectra [batch, 4, frame, bin] to [batch, 7, frame, n_mels]."""
        power = real.square().addcmul(imag, imag)
        vector = _intensity(real, imag)
        length = vector.square().sum(1, keepdim=True).add(_TINY).sqrt()
        vector = vector / (length + torch.finfo(torch.float32).eps)
        return torch.cat(
            (decibels(power @ self.bank), vector @ self.bank), dim=1
        )


@loadable
class LogMelGCC(_LogMel):
    """Log-mel spectra and GCC-PHAT of four microphones, 10 ms a frame.

    Channels 0-3 are log-mel spectra as in `LogMelIntensity`; channels 4-9 the
    generalised cross-correlations with phase transform of the pairs (0, 1),
    (0, 2), (0, 3), (1, 2), (1, 3), (2, 3), at as many lags as there are mel
    bands: bin k is the lag k - n_mels / 2 samples, positive if the second
    microphone of the pair receives the sound later.

    Arguments
    ---------
    sample_rate : int
        Hertz.
    n_fft : int
        Length of window (periodic Hann) and transform, samples.
    hop_length : int, optional
        Samples from frame to frame; default 10 ms.
    n_mels : int
        Mel bands and lags; even.

    Example
    -------
    >>> LogMelGCC(24000)(torch.randn(2, 24000, 4)).shape
    torch.Size([2, 10, 101, 64])
    """

    num_channels = 10

    def __init__(
        self, sample_rate=24000, n_fft=1024, hop_length=None, n_mels=64
    ):
        super().__init__(sample_rate, n_fft, hop_length, n_mels)
        _register_lags(self, n_fft, n_mels)

    def features(self, real, imag):
        """Map spectra [batch, 4, frame, bin] to [batch, 10, frame, n_mels]."""
        power = real.square().addcmul(imag, imag)
        return torch.cat(
            (decibels(power @ self.bank), _gcc(self, real, imag)), dim=1
        )


def _register_lags(module, n_fft, num_lags):
    """Give a module what `_gcc` needs."""
    if num_lags % 2 or not 0 < num_lags <= n_fft:
        raise ValueError(
            f"the number of lags must be even and at most n_fft={n_fft}, got "
            f"{num_lags}"
        )
    cosine, sine = _lag_basis(n_fft, num_lags)
    module.register_buffer("lag_cosine", cosine, persistent=False)
    module.register_buffer("lag_sine", sine, persistent=False)


def _gcc(module, real, imag):
    """GCC-PHAT of all pairs, [batch, pair, frame, lag]."""
    pairs = microphone_pairs(real.shape[1])
    cosine, sine = phase_difference(real, imag, pairs)
    return cosine @ module.lag_cosine + sine @ module.lag_sine


@loadable
class BaselineFeatures(SpectralFeatures):
    """Features of the baseline systems of DCASE 2021 to 2024, task 3.

    Four log-mel spectra, no more than 80 dB below the loudest value of the
    channel in the whole signal, then for ``"foa"`` three intensity channels
    Re(W* S) / (1e-8 + |W|^2 + (|Y|^2 + |Z|^2 + |X|^2) / 3), S = Y, Z, X,
    through the mel filters; for ``"mic"`` six GCC-PHAT channels at lags -32
    to 31. Frames every 20 ms of 40 ms length, floor(time / hop) of them, mel
    filters by Slaney from 0 Hz, as in the public baselines.

    The limit of 80 dB makes a file's features depend on the whole file: give
    whole files if they are to equal the baseline's.

    Arguments
    ---------
    format : str
        ``"foa"`` (7 channels) or ``"mic"`` (10 channels).
    sample_rate : int
        Hertz.
    n_mels : int
        Mel bands.
    pad_mode : str
        Ends of the signal: ``"constant"`` as with librosa from 0.10 on,
        ``"reflect"`` as before.
    top_db : float, optional
        Range of the log-mel spectra, dB; None: without limit.

    Example
    -------
    >>> BaselineFeatures("mic")(torch.randn(1, 24000, 4)).shape
    torch.Size([1, 10, 50, 64])
    """

    OFFSET = 1e-8  # added to the samples
    frame_by_frame = False

    def __init__(
        self,
        format="foa",
        sample_rate=24000,
        n_mels=NUM_LAGS,
        pad_mode="constant",
        top_db=80.0,
    ):
        if format not in FORMATS:
            raise ValueError(f"format must be one of {FORMATS}, got {format!r}")
        hop_length = sample_rate // 50
        n_fft = 2 ** math.ceil(math.log2(2 * hop_length))
        super().__init__(
            n_fft, hop_length, 2 * hop_length, pad_mode, drop_last=True
        )
        self.format, self.sample_rate, self.top_db = format, sample_rate, top_db
        self.num_channels = 7 if format == "foa" else 10
        self.num_bins = n_mels
        bank = mel_filter_bank(sample_rate, n_fft, n_mels, scale="slaney")
        self.register_buffer("bank", bank, persistent=False)
        if format == "mic":
            _register_lags(self, n_fft, n_mels)

    def frames(self, waveform):
        """Add the baseline's offset and cut: [batch, 4, frame, n_fft]."""
        return super().frames(waveform + self.OFFSET)

    def features(self, real, imag):
        """Map spectra to [batch, 7 or 10, frame, n_mels], of any range."""
        power = real.square().addcmul(imag, imag)
        level = decibels(power @ self.bank)
        if self.format == "mic":
            return torch.cat((level, _gcc(self, real, imag)), dim=1)
        energy = 1e-8 + power[:, :1] + power[:, 1:].sum(1, keepdim=True) / 3
        vector = _intensity(real, imag) / energy
        return torch.cat((level, vector @ self.bank), dim=1)

    def _compute(self, waveform):
        features = super()._compute(waveform)
        if self.top_db is None:
            return features
        level = features[:, :4]
        floor = level.amax((2, 3), keepdim=True) - self.top_db
        return torch.cat((torch.maximum(level, floor), features[:, 4:]), dim=1)
