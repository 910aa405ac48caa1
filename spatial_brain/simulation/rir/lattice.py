"""Image sources of shoebox rooms, on tensors.

The images of a source in a box form a lattice, separable per axis: image
(i, j, k) lies at (x_i, y_j, z_k) and has the amplitude a_i b_j c_k / distance
(J. Acoust. Soc. Am. 65, 943, 1979). All images within the reach of the
response (a sphere) go to a fine time grid, see ``fractional_delay``. The
tensor code runs on any device; on the CPU compiled loops (``kernels``) do the
same faster.

A response takes a few milliseconds, in operations of microseconds. Shared
among OpenMP threads each of them would wait for the slowest thread, which on
a busy machine is a time slice of the scheduler: a call of 3 ms then takes 100.
So torch works on one thread here, and only the accumulation of images, by far
the largest part, is spread, over a pool of ordinary threads.
"""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from spatial_brain.simulation.rir import fractional_delay

_lock = threading.Lock()
_state = {"depth": 0, "threads": 1}
_pools = {}
# Elements of a temporary tensor: within the cache of a CPU, or 150 MB of a GPU.
_CHUNK = {"cpu": 2**16, "cuda": 2**21}
# Grid points at a time, for any number of pairs: 16 MB on a CPU, 256 MB on a
# GPU; a filter makes three times as much of them for a moment.
_MAX_POINTS = {"cpu": 2**22, "cuda": 2**26}
# Below -240 dB a product of reflections counts as nothing.
_SILENCE = 1e-12


@contextmanager
def single_threaded():
    """Let torch work on one thread for a while.

    Nested and concurrent uses restore the number of threads when the last one
    ends.

    Example
    -------
    >>> before = torch.get_num_threads()
    >>> with single_threaded():
    ...     torch.get_num_threads(), _available_threads() == before
    (1, True)
    >>> torch.get_num_threads() == before
    True
    """
    with _lock:
        if _state["depth"] == 0:
            _state["threads"] = torch.get_num_threads()
        _state["depth"] += 1
    torch.set_num_threads(1)
    try:
        yield
    finally:
        # Set in every thread that entered: OpenMP keeps it per thread.
        torch.set_num_threads(_state["threads"])
        with _lock:
            _state["depth"] -= 1


def _available_threads():
    """Threads that torch was allowed before ``single_threaded``."""
    if _state["depth"]:
        return _state["threads"]
    return torch.get_num_threads()


def _pool(threads):
    """Pool of threads of this process; threads do not survive a fork."""
    key = os.getpid(), threads
    if key not in _pools:
        _pools.clear()
        _pools[key] = ThreadPoolExecutor(threads, "image-source")
    return _pools[key]


def _after_fork():
    """Start anew in a child, in which no other thread holds the lock."""
    global _lock
    _lock = threading.Lock()
    _state["depth"] = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def max_points(device):
    """How many points of grids are worked on at a time, to bound the memory.

    Arguments
    ---------
    device : torch.device
        Where the grids are.

    Returns
    -------
    int
        Points.

    Example
    -------
    >>> max_points(torch.device("cpu")) // 2**20
    4
    """
    return _MAX_POINTS.get(device.type, _MAX_POINTS["cuda"])


@dataclass(frozen=True)
class Lattice:
    """Axis tables of several source-microphone pairs.

    Arguments
    ---------
    delta : list of torch.Tensor
        Image minus microphone, metres, three tensors [pairs, cells]; the
        axes are sorted from the longest side of the room to the shortest.
    gain : list of torch.Tensor
        Product of the wall reflections, three tensors [pairs, cells].
    spacing : torch.Tensor
        Shortest side, metres, [pairs].
    reach : torch.Tensor
        Largest distance of an image, metres, [pairs].
    axes : torch.Tensor
        Which room axis each sorted axis is, [pairs, 3].
    order : int
        Largest number of reflections.
    """

    delta: list
    gain: list
    spacing: torch.Tensor
    reach: torch.Tensor
    axes: torch.Tensor
    order: int


def build_lattice(size, source, microphone, absorption, reach, order=None):
    """Tables of image positions and reflections per axis.

    Arguments
    ---------
    size : torch.Tensor
        Room sizes, metres, float64 [pairs, 3].
    source : torch.Tensor
        float64 [pairs, 3].
    microphone : torch.Tensor
        float64 [pairs, 3].
    absorption : torch.Tensor
        Energy absorption (x0, x1, y0, y1, z0, z1), float64 [pairs, 6].
    reach : torch.Tensor
        Largest distance of an image, metres, float64 [pairs].
    order : int, optional
        Largest number of reflections; None for no limit but ``reach``.

    Returns
    -------
    Lattice
        float32 tables on the device of ``size``.

    Example
    -------
    >>> one = torch.ones(1, 3, dtype=torch.float64)
    >>> walls = torch.zeros(1, 6, dtype=torch.float64)
    >>> build_lattice(
    ...     3 * one, one, 2 * one, walls, 1.9 * one[:, 0], order=1
    ... ).delta[0]
    tensor([[-3., -1.,  3.]])
    """
    axes = size.argsort(dim=1, descending=True, stable=True)
    size, source, microphone = (
        value.gather(1, axes) for value in (size, source, microphone)
    )
    reflection = (1 - absorption).clamp_min(0).sqrt().view(-1, 3, 2)
    reflection = reflection.gather(1, axes[..., None].expand(-1, -1, 2))
    cells = (reach[:, None] / size).amax(0).ceil().to(torch.int64) + 1
    if order is not None:
        cells = cells.clamp_max(order)
    delta, gain = [], []
    for axis, most in enumerate(cells.tolist()):
        cell = torch.arange(-most, most + 1, device=size.device)
        odd = cell.remainder(2) == 1
        length, start = size[:, axis, None], source[:, axis, None]
        position = cell * length + torch.where(odd, length - start, start)
        delta.append((position - microphone[:, axis, None]).float())
        # ceil(n / 2) on the wall it leans to, the rest on the other.
        low = torch.div(1 - cell, 2, rounding_mode="floor").abs()
        high = cell.abs() - low
        near, far = reflection[:, axis].unbind(-1)
        product = near[:, None] ** low * far[:, None] ** high
        product = torch.where(product < _SILENCE, 0.0, product)
        gain.append(product.float().contiguous())
    reach = reach.float()
    spacing = size[:, 2].float().contiguous()
    order = int(cells.sum()) if order is None else order
    return Lattice(delta, gain, spacing, reach, axes, order)


def lattice_response(
    size,
    source,
    microphone,
    absorption,
    reach,
    *,
    num_samples,
    scale,
    order=None,
    gains=None,
):
    """Responses of source-microphone pairs by image sources.

    Arguments
    ---------
    size : torch.Tensor
        Room sizes, metres, float64 [pairs, 3].
    source : torch.Tensor
        float64 [pairs, 3].
    microphone : torch.Tensor
        float64 [pairs, 3].
    absorption : torch.Tensor
        Energy absorption (x0, x1, y0, y1, z0, z1), float64 [pairs, 6].
    reach : torch.Tensor
        Largest distance of an image, metres, float64 [pairs].
    num_samples : int
        Length of the responses.
    scale : float
        Samples per metre.
    order : int, optional
        Largest number of reflections.
    gains : PairGains, optional
        Directional patterns; None for omnidirectional.

    Returns
    -------
    torch.Tensor
        float32 [pairs, num_samples].

    Example
    -------
    >>> one = torch.ones(1, 3, dtype=torch.float64)
    >>> rir = lattice_response(
    ...     4 * one, one, one + 1, torch.ones(1, 6), 9 * one[:, 0],
    ...     num_samples=400, scale=100 / 3**0.5,
    ... )
    >>> rir.argmax().item(), round(rir.max().item() * 3**0.5, 2)
    (100, 1.0)
    """
    pairs = size, source, microphone, absorption, reach
    points = fractional_delay.grid_length(num_samples)
    response = torch.empty(len(size), num_samples, device=size.device)
    kernels = _compiled(size.device, gains)
    step = max(1, max_points(size.device) // points)
    for first in range(0, len(size), step):
        rows = slice(first, first + step)
        lattice = build_lattice(*(part[rows] for part in pairs), order)
        grid = torch.zeros(len(lattice.reach), points, device=size.device)
        chosen = None if gains is None else gains.of_pairs(rows)
        if kernels is None:
            accumulate(lattice, grid, scale, chosen)
        else:
            _accumulate_compiled(kernels, lattice, grid, scale, chosen)
        response[rows] = fractional_delay.grid_to_samples(grid, num_samples)
    return response


@dataclass(frozen=True)
class PairGains:
    """Directional patterns of pairs.

    Arguments
    ---------
    microphones : Patterns
        Of all microphones of all rooms.
    sources : Patterns
        Of all sources of all rooms.
    microphone : torch.Tensor
        Index into ``microphones``, [pairs].
    source : torch.Tensor
        Index into ``sources``, [pairs].
    """

    microphones: object
    sources: object
    microphone: torch.Tensor
    source: torch.Tensor

    @property
    def is_first_order(self):
        """Whether no pattern is a function."""
        return self.microphones.is_first_order and self.sources.is_first_order

    def of_pairs(self, rows):
        """The patterns of some pairs, of a slice of them."""
        return replace(
            self, microphone=self.microphone[rows], source=self.source[rows]
        )

    def coefficients(self, axes):
        """First-order coefficients of microphone and source, [pairs, 4]."""
        order = torch.cat((torch.zeros_like(axes[:, :1]), axes + 1), dim=1)
        return tuple(
            patterns.coefficients[index].to(axes.device).gather(1, order)
            for patterns, index in (
                (self.microphones, self.microphone),
                (self.sources, self.source),
            )
        )


def _compiled(device, gains):
    """Compiled loops if they can do the task, else None."""
    if device.type != "cpu":
        return None
    if gains is not None and not gains.is_first_order:
        return None
    try:
        from spatial_brain.simulation.rir import kernels
    except ImportError:  # numba supports few processors
        return None
    return kernels


def _accumulate_compiled(kernels, lattice, grid, scale, gains):
    """Fill the grid with compiled loops, pairs shared among threads."""
    tables = [table.numpy() for table in (*lattice.delta, *lattice.gain)]
    common = (
        lattice.spacing.numpy(),
        lattice.reach.numpy(),
        lattice.order,
        torch.full_like(lattice.reach, scale).numpy(),
        grid.numpy(),
    )
    kernel = kernels.accumulate_omni
    if gains is not None:
        kernel = kernels.accumulate_first_order
        tables += [
            part.float().contiguous().numpy()
            for part in gains.coefficients(lattice.axes)
        ]
    threads = min(_available_threads(), len(grid))
    if threads == 1:
        for pair in range(len(grid)):
            kernel(*tables, *common, pair)
        return
    work = partial(kernel, *tables, *common)
    list(_pool(threads).map(work, range(len(grid))))


def accumulate(lattice, grid, scale, gains=None):
    """Add all images to the grid with tensor operations, on any device.

    Works on columns, the images that share a pair and two axes, sorted by
    length and in chunks of bounded memory.

    Arguments
    ---------
    lattice : Lattice
        Axis tables.
    grid : torch.Tensor
        float32 [pairs, points], changed in place.
    scale : float
        Samples per metre.
    gains : PairGains, optional
        Directional patterns.

    Example
    -------
    >>> one = torch.ones(1, 3, dtype=torch.float64)
    >>> lattice = build_lattice(
    ...     4 * one, one, one + 1, torch.zeros(1, 6), 5 * one[:, 0]
    ... )
    >>> grid = torch.zeros(1, fractional_delay.grid_length(100))
    >>> accumulate(lattice, grid, 10.0)
    >>> bool(grid.sum() > 1)
    True
    """
    columns = _columns(lattice)
    coefficients = None if gains is None else gains.coefficients(lattice.axes)
    groups = [columns]
    if gains is not None and not gains.is_first_order:
        # A function wants the directions of one microphone at a time.
        groups = [
            tuple(part[columns[0] == pair] for part in columns)
            for pair in range(len(grid))
        ]
    for group in groups:
        for chunk, cells in _chunks(lattice, group):
            _add_chunk(
                lattice, grid, scale, chunk, cells, (gains, coefficients)
            )


def _columns(lattice):
    """Pair and cells of each column, and the reach left along it."""
    x, y = lattice.delta[:2]
    left = lattice.reach[:, None, None] ** 2
    left = left - x[:, :, None] ** 2 - y[:, None, :] ** 2
    gain = lattice.gain[0][:, :, None] * lattice.gain[1][:, None, :]
    cells = [table.shape[1] // 2 for table in (x, y)]
    across = [
        torch.arange(-most, most + 1, device=x.device).abs() for most in cells
    ]
    orders = lattice.order - across[0][:, None] - across[1]
    pair, i, j = ((left >= 0) & (gain > 0) & (orders >= 0)).nonzero(
        as_tuple=True
    )
    left = left[pair, i, j].sqrt()
    rank = (left / lattice.spacing[pair]).argsort(descending=True)
    return pair[rank], i[rank], j[rank], left[rank], orders[i, j][rank]


def _chunks(lattice, columns):
    """Yield columns whose images fit a chunk, and cells along the last axis."""
    pair, *_, left, orders = columns
    if len(pair) == 0:
        return
    budget = _CHUNK.get(left.device.type, _CHUNK["cuda"])
    most = lattice.delta[2].shape[1] // 2
    needed = (left / lattice.spacing[pair]).to(torch.int64) + 2
    needed = torch.minimum(needed, orders).clamp_max(most)
    # Sorted by length, so the first column of a chunk is its longest, but
    # for a limit of the order.
    needed = needed.flip(0).cummax(0).values.flip(0).tolist()
    start = 0
    while start < len(needed):
        cells = needed[start]
        stop = start + max(1, budget // (2 * cells + 1))
        yield tuple(part[start:stop] for part in columns), cells
        start = stop


def _add_chunk(lattice, grid, scale, chunk, cells, patterns):
    """Add the images of some columns, ``cells`` to either side, to the grid."""
    pair, i, j, left, orders = (part[:, None] for part in chunk)
    pair, i, j = pair[:, 0], i[:, 0], j[:, 0]
    middle = lattice.delta[2].shape[1] // 2
    inner = slice(middle - cells, middle + cells + 1)
    x = lattice.delta[0][pair, i][:, None]
    y = lattice.delta[1][pair, j][:, None]
    z = lattice.delta[2][:, inner][pair]
    cell = torch.arange(-cells, cells + 1, device=z.device)
    distance = (x * x + y * y + z * z).sqrt()
    amplitude = lattice.gain[2][:, inner][pair] / distance
    amplitude *= (lattice.gain[0][pair, i] * lattice.gain[1][pair, j])[:, None]
    if patterns[0] is not None:
        odd = [
            (index - table.shape[1] // 2).remainder(2)[:, None]
            for index, table in ((i, lattice.delta[0]), (j, lattice.delta[1]))
        ]
        mirror = [1 - 2 * part for part in (*odd, cell.remainder(2))]
        amplitude *= _pattern_gain(
            (x, y, z), mirror, distance, pair, lattice.axes, patterns
        )
    outside = (z.abs() > left) | (cell.abs() > orders)
    amplitude = amplitude.masked_fill(outside, 0.0)
    row = pair[:, None].expand(distance.shape)
    fractional_delay.add_impulses(grid, row, distance * scale, amplitude)


def _pattern_gain(delta, mirror, distance, pair, axes, patterns):
    """Gain of microphone times source for each image."""
    gains, coefficients = patterns
    received = [part / distance for part in delta]
    emitted = [
        -side * part for side, part in zip(mirror, received, strict=True)
    ]
    if gains.is_first_order:
        mic, src = (
            part[pair].to(distance)[:, :, None] for part in coefficients
        )
        result = 1.0
        for c, u in ((mic, received), (src, emitted)):
            result = result * (
                c[:, 0] + c[:, 1] * u[0] + c[:, 2] * u[1] + c[:, 3] * u[2]
            )
        return result
    # One pair: back to the room's axes for the user's functions.
    back = axes[pair[0]].argsort().tolist()
    received, emitted = (
        torch.stack(
            [torch.broadcast_tensors(*parts)[axis] for axis in back], dim=-1
        )
        for parts in (received, emitted)
    )
    mic, src = (
        int(index[int(pair[0])]) for index in (gains.microphone, gains.source)
    )
    return gains.microphones.gain(mic, received) * gains.sources.gain(
        src, emitted
    )
