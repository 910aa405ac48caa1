"""Fixed mixtures for validation and test: the same at every evaluation."""

import numpy as np

from spatial_brain.dataio.manifest import read_manifest, write_manifest

PAIRINGS = ("different_speakers", "any")
CROPS = ("start", "random")

# What a mixture takes over from its room.
_COPIED = (
    "azimuth",
    "elevation",
    "cone_angle",
    "distance",
    "separation",
    "t60",
    "t60_measured",
)


def write_mixture_manifest(
    path,
    utterances,
    rirs,
    *,
    seed,
    num_mixtures=None,
    num_talkers=2,
    length=48000,
    pairing="different_speakers",
    crop="random",
    sir_range=None,
    snr_range=None,
    gain_range=None,
):
    """Decide which utterances meet in which room, once and for all.

    Mixture ``i`` depends on ``(seed, i)`` alone. Every utterance is first
    talker once before any is it twice. An entry has ``utterances`` (ids),
    ``wavs``, ``speakers``, ``starts`` (samples), ``length`` (samples),
    ``rir`` (id of the room), ``sir`` (level of the first talker over each
    other, dB, a list; null keeps the recorded levels), ``snr`` (dB; null for
    no noise), ``mic_gains`` (dB per microphone; null for none) and ``seed``
    (for what is drawn when the mixture is made, such as noise). Directions
    and acoustics of the room are copied from its entry: ``azimuth``,
    ``elevation``, ``cone_angle``, ``distance``, ``separation``, ``t60``,
    ``t60_measured``.

    The reference behaviour of github.com/zszheng147/tencent-SSL is
    ``pairing="any", crop="start"`` without ranges.

    Arguments
    ---------
    path : str or Path
        Manifest to write.
    utterances : str or Path
        Manifest with ``wav``, ``speaker``, ``num_samples``; placeholders in
        its paths stay as they are.
    rirs : str or Path
        Manifest of a bank of rooms.
    seed : int
        Not negative.
    num_mixtures : int
        None is one for each utterance.
    num_talkers : int
        Utterances in a mixture; the rooms must have as many sources.
    length : int
        Length of the dry signals, samples; shorter utterances are padded by
        whoever makes the mixture.
    pairing : str
        ``"different_speakers"``, or ``"any"``: even an utterance with itself.
    crop : str
        ``"start"`` or ``"random"``, for utterances longer than ``length``.
    sir_range : tuple of float
        dB, uniform; None keeps the levels of the recordings.
    snr_range : tuple of float
        dB, uniform; None adds no noise.
    gain_range : tuple of float
        dB, uniform for each microphone; None is no mismatch.

    Raises
    ------
    ValueError
        If there are too few speakers, or an argument is unknown.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> speech = {s: {"wav": s, "speaker": s, "num_samples": 9} for s in "ab"}
    >>> write_manifest(folder / "speech.json", speech)
    >>> room = {"src_pos": [[1, 1, 1], [2, 1, 1]], "mic_pos": [[1, 2, 1]]}
    >>> write_manifest(folder / "rirs.json", {"room0": room})
    >>> write_mixture_manifest(
    ...     folder / "test.json",
    ...     folder / "speech.json",
    ...     folder / "rirs.json",
    ...     seed=0,
    ... )
    >>> sorted(read_manifest(folder / "test.json")["mix000000"]["speakers"])
    ['a', 'b']
    """
    if pairing not in PAIRINGS or crop not in CROPS:
        raise ValueError(
            f"pairing must be one of {PAIRINGS} and crop one of {CROPS}, got "
            f"{pairing!r} and {crop!r}"
        )
    if seed < 0 or num_talkers < 1 or length < 1:
        raise ValueError(
            "seed must not be negative, num_talkers and length at least 1, got "
            f"{seed}, {num_talkers} and {length}"
        )
    speech, rooms = _read(utterances, rirs, num_talkers, pairing)
    num_mixtures = len(speech) if num_mixtures is None else num_mixtures
    order = np.random.default_rng(seed).permutation(len(speech))
    ids, room_ids = list(speech), list(rooms)
    ranges = (sir_range, snr_range, gain_range)
    entries = {}
    for index in range(num_mixtures):
        rng = np.random.default_rng([seed, index])
        first = ids[order[index % len(ids)]]
        talkers = _talkers(rng, speech, ids, first, num_talkers, pairing)
        room = room_ids[rng.integers(len(room_ids))]
        entries[f"mix{index:06d}"] = {
            "utterances": talkers,
            "wavs": [speech[key]["wav"] for key in talkers],
            "speakers": [speech[key]["speaker"] for key in talkers],
            "starts": [
                _start(rng, speech[key]["num_samples"], length, crop)
                for key in talkers
            ],
            "length": length,
            "rir": room,
            **_levels(rng, num_talkers, len(rooms[room]["mic_pos"]), *ranges),
            "seed": int(rng.integers(2**62)),
            **{key: rooms[room][key] for key in _COPIED if key in rooms[room]},
        }
    write_manifest(path, entries)


def _read(utterances, rirs, num_talkers, pairing):
    """Read both manifests and check that mixtures can be made of them."""
    speech = read_manifest(utterances, keys=("wav", "speaker", "num_samples"))
    rooms = read_manifest(rirs, keys=("src_pos", "mic_pos"))
    speakers = {entry["speaker"] for entry in speech.values()}
    if pairing == "different_speakers" and len(speakers) < num_talkers:
        raise ValueError(
            f"{utterances}: has {len(speakers)} speakers, {num_talkers} are "
            "needed in a mixture"
        )
    for room, entry in rooms.items():
        if len(entry["src_pos"]) != num_talkers:
            raise ValueError(
                f"{rirs}: {room!r} has {len(entry['src_pos'])} sources, "
                f"mixtures have {num_talkers}"
            )
    return speech, rooms


def _talkers(rng, speech, ids, first, num_talkers, pairing):
    """Ids of the utterances of one mixture."""
    talkers = [first]
    while len(talkers) < num_talkers:
        other = ids[rng.integers(len(ids))]
        heard = {speech[key]["speaker"] for key in talkers}
        if pairing == "any" or speech[other]["speaker"] not in heard:
            talkers.append(other)
    return talkers


def _start(rng, num_samples, length, crop):
    """First sample of an utterance."""
    # Always drawn, so that the crop changes nothing else.
    share = rng.random()
    if crop == "start" or num_samples <= length:
        return 0
    return int(share * (num_samples - length + 1))


def _levels(rng, num_talkers, num_mics, sir_range, snr_range, gain_range):
    """Levels of talkers, noise and microphones, dB."""

    def draw(bounds, count):
        values = rng.random(count)
        if bounds is None:
            return None
        return [
            round(bounds[0] + v * (bounds[1] - bounds[0]), 3) for v in values
        ]

    snr = draw(snr_range, 1)
    return {
        "sir": draw(sir_range, num_talkers - 1),
        "snr": snr and snr[0],
        "mic_gains": draw(gain_range, num_mics),
    }
