"""Who speaks where in the windows of a drawn scene."""

from spatial_brain.datasets.array_scenes.scenes import FRAME
from spatial_brain.geometry.observable import front_azimuths

# Share of a window in which a talker has to speak.
_SPEAKS = 0.3


def window_truth(scene, times, length, fs):
    """Azimuths of the talkers of windows of a scene.

    Arguments
    ---------
    scene : ArrayScene
        The scene; or a recording with ``azimuth``, ``elevation``, ``active``
        and ``positions``.
    times : sequence of float
        Centres of the windows, seconds.
    length : float
        Of a window, seconds.
    fs : int
        Sampling rate of the scene, Hz.

    Returns
    -------
    list of numpy.ndarray or None
        For each window degrees, [talker]: of what the array cannot tell apart
        the one on its front side. None where somebody speaks in a small part
        of the window only: there no number of talkers is right.

    Example
    -------
    >>> import torch
    >>> from types import SimpleNamespace
    >>> scene = SimpleNamespace(
    ...     azimuth=torch.full((1, 125), 170.0),
    ...     elevation=torch.zeros(1, 125),
    ...     active=torch.arange(125)[None] < 63,
    ...     positions=torch.tensor([[0.0, 0.1, 0.0], [0.0, -0.1, 0.0]]))
    >>> [part if part is None else part.round().tolist()
    ...  for part in window_truth(scene, [0.5, 1.2, 1.6], 0.8, 16000)]
    [[10.0], None, []]
    """
    azimuth = front_azimuths(scene.azimuth, scene.elevation, scene.positions)
    found, label = [], FRAME / fs
    for time in times:
        first = max(0, round((float(time) - length / 2) / label))
        last = max(first + 1, round((float(time) + length / 2) / label))
        share = scene.active[:, first:last].float().mean(1)
        if bool(((share > 0) & (share < _SPEAKS)).any()):
            found.append(None)
            continue
        middle = min((first + last) // 2, azimuth.shape[1] - 1)
        found.append(azimuth[share >= _SPEAKS, middle].numpy())
    return found
