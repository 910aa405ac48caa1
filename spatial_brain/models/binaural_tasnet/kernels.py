"""Compiled loops of live binaural separation, frame by frame on one core.

Compiled on first use. A frame of the recipe's network is a million
multiplications and reads each of as many weights once, so products of vectors
with matrices are sums of the matrices' rows, which lie in memory in the order
of their use.
"""

import math
from typing import NamedTuple

import numpy as np

from spatial_brain.compilation import compiled
from spatial_brain.nnet.temporal_convolution import EPS

# Frames worked on at once: what is between two layers stays in the cache.
_MAX_FRAMES = 32


class Weights(NamedTuple):
    """Parameters of both ears, maps as [..., input, output].

    Where one network finds the masks of both ears there is but one ear, and
    sources are first those at the left ear, then those at the right one;
    ``synthesis`` alone is of both.
    """

    analysis: np.ndarray  # [ear, taps of left and right, filter]
    enter: np.ndarray  # [ear, filter, channel]
    enter_bias: np.ndarray  # [ear, channel]
    widen: np.ndarray  # [ear, block, channel, hidden]
    slopes: np.ndarray  # [ear, block, 2]
    gamma: np.ndarray  # [ear, block, hidden]
    beta: np.ndarray  # [ear, block, hidden]
    taps: np.ndarray  # [ear, block, tap, hidden]
    narrow: np.ndarray  # [ear, block, hidden, channel]
    narrow_bias: np.ndarray  # [ear, block, channel]
    leave: np.ndarray  # [ear, source, channel, filter]
    synthesis: np.ndarray  # [ear, filter, tap]


class CueWeights(NamedTuple):
    """Parameters of the cues in narrow bands, maps as [input, output]."""

    transform: np.ndarray  # [window, real parts and imaginary parts of bands]
    project: np.ndarray  # [cues of all bands, channel]
    bias: np.ndarray  # [channel]
    relative_floor: np.float32
    absolute_floor: np.float32


class State(NamedTuple):
    """What the blocks remember.

    Block b keeps a ring of its last hidden frames in the rows from ``first[b]``
    to ``first[b + 1]`` of ``past``.
    """

    past: np.ndarray  # [ear, row, hidden]
    first: np.ndarray  # [block + 1]
    dilation: np.ndarray  # [block]
    sums: np.ndarray  # [ear, block, norm, (values, squares)], float64


# Sums may be taken in any order; what is not a number remains so.
_compiled = compiled(fastmath={"reassoc", "contract", "nsz"})


@_compiled
def _add_product(x, weight, y):
    """Add x [frame, input] @ weight [input, output] to y."""
    inputs, outputs = weight.shape
    whole = inputs - inputs % 8
    for i in range(0, whole, 8):
        w0, w1, w2, w3 = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        w4, w5, w6 = weight[i + 4], weight[i + 5], weight[i + 6]
        w7 = weight[i + 7]
        for f in range(x.shape[0]):
            part, total = x[f, i : i + 8], y[f]
            x0, x1, x2, x3 = part[0], part[1], part[2], part[3]
            x4, x5, x6, x7 = part[4], part[5], part[6], part[7]
            for o in range(outputs):
                total[o] += (
                    (x0 * w0[o] + x1 * w1[o])
                    + (x2 * w2[o] + x3 * w3[o])
                    + (x4 * w4[o] + x5 * w5[o])
                    + (x6 * w6[o] + x7 * w7[o])
                )
    for i in range(whole, inputs):
        row = weight[i]
        for f in range(x.shape[0]):
            value, total = x[f, i], y[f]
            for o in range(outputs):
                total[o] += value * row[o]


@_compiled
def _add(x, y):
    """Add x to the beginning of y."""
    for i in range(len(x)):
        y[i] += x[i]


@_compiled
def _bend(x, slope):
    """PReLU of a frame in place."""
    for i in range(len(x)):
        x[i] = x[i] if x[i] > 0 else slope * x[i]


@_compiled
def _normalize(x, mean, scale):
    """Subtract and multiply in place."""
    for i in range(len(x)):
        x[i] = (x[i] - mean) * scale


@_compiled
def _frame_moments(x):
    """Mean and one over the deviation of a frame."""
    total, spread = 0.0, 0.0
    for i in range(len(x)):
        total += x[i]
    mean = total / len(x)
    for i in range(len(x)):
        spread += (x[i] - mean) * (x[i] - mean)
    scale = 1 / math.sqrt(spread / len(x) + EPS)
    return x.dtype.type(mean), x.dtype.type(scale)


@_compiled
def _running_moments(x, sums, count):
    """The same of all frames so far; ``count`` with this one."""
    total, power = 0.0, 0.0
    for i in range(len(x)):
        value = np.float64(x[i])
        total += value
        power += value * value
    sums[0] += total
    sums[1] += power
    size = np.float64(count) * len(x)
    mean = sums[0] / size
    variance = max(sums[1] / size - mean * mean, 0.0)
    return x.dtype.type(mean), x.dtype.type(1 / math.sqrt(variance + EPS))


@_compiled
def _surround(y, ring, place, taps, dilation):
    """Dilated convolution of a ring that ends in ``place``, into y."""
    at = place - len(ring) + 1
    y[:] = 0
    for k in range(len(taps)):
        old, tap = ring[at if at >= 0 else at + len(ring)], taps[k]
        for i in range(len(y)):
            y[i] += old[i] * tap[i]
        at += dilation


@_compiled
def _run_block(x, y, weights, state, ear, block, count, cumulative):
    """Add to x [frame, channel] what a block finds; y is scratch."""
    slopes, sums = weights.slopes[ear, block], state.sums[ear, block]
    gamma, beta = weights.gamma[ear, block], weights.beta[ear, block]
    ring = state.past[ear, state.first[block] : state.first[block + 1]]
    taps, dilation = weights.taps[ear, block], state.dilation[block]
    bias = weights.narrow_bias[ear, block]
    y[:] = 0
    _add_product(x, weights.widen[ear, block], y)
    for f in range(len(x)):
        row, place = y[f], (count + f) % len(ring)
        _bend(row, slopes[0])
        if cumulative:
            mean, scale = _running_moments(row, sums[0], count + f + 1)
        else:
            mean, scale = _frame_moments(row)
        now = ring[place]
        for i in range(len(row)):
            now[i] = (row[i] - mean) * scale * gamma[i] + beta[i]
        _surround(row, ring, place, taps, dilation)
        _bend(row, slopes[1])
        if cumulative:
            mean, scale = _running_moments(row, sums[1], count + f + 1)
        else:
            mean, scale = _frame_moments(row)
        _normalize(row, mean, scale)
    # Added to x in the end: x is larger, and would be rounded at every step.
    found = np.zeros_like(x)
    _add_product(y, weights.narrow[ear, block], found)
    for f in range(len(x)):
        _add(bias, found[f])
        _add(found[f], x[f])


@_compiled
def _find_masks(x, features, weights, state, ear, count, cumulative):
    """Add to x [frame, channel] what leads to the masks of an ear."""
    frames = len(features)
    normed = features.copy()
    for f in range(frames):
        mean, scale = _frame_moments(normed[f])
        _normalize(normed[f], mean, scale)
        _add(weights.enter_bias[ear], x[f])
    _add_product(normed, weights.enter[ear], x)
    scratch = np.empty((frames, weights.widen.shape[3]), features.dtype)
    for block in range(len(state.dilation)):
        _run_block(x, scratch, weights, state, ear, block, count, cumulative)


@_compiled
def _decode(x, features, leave, synthesis, stride, output):
    """Weigh features by the masks of a source, add their waveform."""
    masked = np.zeros_like(features)
    _add_product(x, leave, masked)
    for f in range(len(features)):
        row, weighed = masked[f], features[f]
        for i in range(len(row)):
            row[i] = row[i] * weighed[i] if row[i] > 0 else 0
    pieces = np.zeros((len(features), synthesis.shape[1]), features.dtype)
    _add_product(masked, synthesis, pieces)
    for f in range(len(pieces)):
        _add(pieces[f], output[f * stride :])


@_compiled
def _windows(waveform, start, frames, stride, size, windows):
    """Cut windows of both ears, one behind the other, [frame, ears' taps]."""
    for f in range(frames):
        at = (start + f) * stride
        for ear in range(2):
            window = windows[f, ear * size : (ear + 1) * size]
            _add(waveform[ear, at : at + size], window)


@_compiled
def _encode(windows, analysis):
    """Rectified features [frame, filter] of windows."""
    features = np.zeros((len(windows), analysis.shape[1]), windows.dtype)
    _add_product(windows, analysis, features)
    for f in range(len(features)):
        _bend(features[f], features.dtype.type(0))
    return features


@_compiled
def _add_cues(windows, weights, x):
    """Add to x [frame, channel] the cues of long windows of both ears."""
    size, bands = weights.transform.shape[0], weights.transform.shape[1] // 2
    spectra = np.zeros((2, len(windows), 2 * bands), windows.dtype)
    for ear in range(2):
        part = windows[:, ear * size : (ear + 1) * size]
        _add_product(part, weights.transform, spectra[ear])
    cues = np.empty((len(windows), 3 * bands), windows.dtype)
    for f in range(len(windows)):
        left, right, row = spectra[0, f], spectra[1, f], cues[f]
        mean = windows.dtype.type(0)
        for b in range(bands):
            re, im = left[b], left[bands + b]
            other_re, other_im = right[b], right[bands + b]
            first = re * re + im * im
            second = other_re * other_re + other_im * other_im
            mean += (first + second) / bands
            row[b] = first - second
            row[bands + b] = 2 * (re * other_re + im * other_im)
            row[2 * bands + b] = 2 * (im * other_re - re * other_im)
            # Where its power will be needed.
            left[b] = first + second
        floor = weights.relative_floor * mean + weights.absolute_floor
        for b in range(bands):
            scale = 1 / (left[b] + floor)
            row[b] *= scale
            row[bands + b] *= scale
            row[2 * bands + b] *= scale
        _add(weights.bias, x[f])
    _add_product(cues, weights.project, x)


@_compiled
def separate(waveform, output, weights, state, count, stride, cumulative):
    """Add each source at both ears to the output.

    Arguments
    ---------
    waveform : numpy.ndarray
        float32 [ear, time], whole windows of the encoder.
    output : numpy.ndarray
        float32 [ear, source, time], as long, changed in place.
    weights : Weights
        float32.
    state : State
        Changed in place.
    count : int
        Frames before these.
    stride : int
        Samples from frame to frame.
    cumulative : bool
        Whether norms are over all frames so far, or over each alone.
    """
    kernel = weights.synthesis.shape[2]
    total = (waveform.shape[1] - kernel) // stride + 1
    for start in range(0, total, _MAX_FRAMES):
        frames = min(_MAX_FRAMES, total - start)
        windows = np.zeros((frames, 2 * kernel), waveform.dtype)
        _windows(waveform, start, frames, stride, kernel, windows)
        for ear in range(2):
            features = _encode(windows, weights.analysis[ear])
            x = np.zeros((frames, weights.enter.shape[2]), waveform.dtype)
            _find_masks(
                x, features, weights, state, ear, count + start, cumulative
            )
            for source in range(output.shape[1]):
                _decode(
                    x,
                    features,
                    weights.leave[ear, source],
                    weights.synthesis[ear],
                    stride,
                    output[ear, source, start * stride :],
                )


@_compiled
def separate_jointly(
    waveform, output, weights, cues, state, count, stride, cumulative
):
    """The same where one network finds the masks of both ears.

    Arguments
    ---------
    waveform : numpy.ndarray
        float32 [ear, time]; before the windows of the encoder is what the
        window of the cues needs more.
    output : numpy.ndarray
        float32 [ear, source, time], of the windows, changed in place.
    weights : Weights
        float32.
    cues : CueWeights
        float32.
    state : State
        Changed in place.
    count, stride, cumulative
        As for ``separate``.
    """
    kernel, size = weights.synthesis.shape[2], cues.transform.shape[0]
    sources = output.shape[1]
    total = (waveform.shape[1] - size) // stride + 1
    for start in range(0, total, _MAX_FRAMES):
        frames = min(_MAX_FRAMES, total - start)
        windows = np.zeros((frames, 2 * kernel), waveform.dtype)
        recent = waveform[:, size - kernel :]
        _windows(recent, start, frames, stride, kernel, windows)
        features = _encode(windows, weights.analysis[0])
        windows = np.zeros((frames, 2 * size), waveform.dtype)
        _windows(waveform, start, frames, stride, size, windows)
        x = np.zeros((frames, weights.enter.shape[2]), waveform.dtype)
        _add_cues(windows, cues, x)
        _find_masks(x, features, weights, state, 0, count + start, cumulative)
        for ear in range(2):
            for source in range(sources):
                _decode(
                    x,
                    features,
                    weights.leave[0, ear * sources + source],
                    weights.synthesis[ear],
                    stride,
                    output[ear, source, start * stride :],
                )
