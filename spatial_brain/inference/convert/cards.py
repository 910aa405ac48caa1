"""Cards of released weights: what their publications say of them."""

from pathlib import Path

import ruamel.yaml

from spatial_brain.inference.pretrained import write_card

ANGLES = "degrees: azimuth 0 in front, 90 on the left; elevation 90 above"
# Of the 3,060 clips of its synthetic test set (AGG_LOSS.md of PSELDNets).
_SYNTH_SELD = {
    ("htsat", "accdoa"): "0.572",
    ("htsat", "multi_accdoa"): "0.569",
    ("passt", "multi_accdoa"): "0.562",
    ("cnn14_conformer", "multi_accdoa"): "0.582",
    ("htsat", "einv2"): "0.601, with aggregated losses 0.514",
    ("htsat", "seddoa"): "0.647, with aggregated losses 0.531 or 0.560",
}
# SNR improvements of the README of SpeechBrain's recipe, min, 8 kHz.
_BINAURAL_SNRI = {
    "independent": "12.39 dB",
    "cross": "11.9 dB",
    "parallel": "16.93 dB (18.25 dB in noise, 6.95 dB in rooms)",
}


def write_released_card(format, folder):
    """Write the card of weights that were trained by somebody else.

    Nothing was measured here: the figures are those of the publication, where
    there are any.

    Arguments
    ---------
    format : str
        A key of ``spatial_brain.inference.convert.FORMATS``.
    folder : str or Path
        Pretrained folder, with its ``hyperparams.yaml``.

    Returns
    -------
    ModelCard

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> text = "sample_rate: 16000\\nmicrophone_positions: [[0, 0, 0]]"
    >>> _ = (folder / "hyperparams.yaml").write_text(text)
    >>> write_released_card("dual-mic-ssl", folder).sample_rate
    16000
    """
    text = (Path(folder) / "hyperparams.yaml").read_text(encoding="utf-8")
    # Tags stay what they are: nothing is built.
    hparams = ruamel.yaml.YAML().load(text)
    facts = {"sample_rate": hparams["sample_rate"], **_FACTS[format](hparams)}
    return write_card(folder, facts)


def _dual_mic(hparams):
    """The two-talker localiser of dual-mic-SSL."""
    return {
        "task": "directions of talkers",
        "channels": 2,
        "channel_order": "two microphones along the x axis",
        "positions": [list(p) for p in hparams["microphone_positions"]],
        "spacing": [0.1, 0.1],
        "angles": "azimuth in degrees, folded into 0 to 180: 90 is abreast",
        "causal": False,
        "data": "3000 simulated rooms of FRAM-RIR",
        "speech": "LibriSpeech dev-clean",
        "room_size": [[3, 10], [3, 6], [2.5, 4]],
        "t60": [0.1, 0.7],
        "sources": [2, 2],
        "published": "6.08 and 5.65 degrees (class steps, head by head), "
        "LibriSpeech test-clean in rooms of the training",
    }


def _sar_ssl(hparams):
    """SAR-SSL, the pretext task or one of its downstream tasks."""
    task = hparams.get("task", "reconstruction of masked frames (pretext task)")
    return {
        "task": str(task),
        "channels": 2,
        "channel_order": "two microphones",
        "causal": False,
        "data": "simulated or measured rooms of SAR-SSL, which the file does "
        "not name",
        "speech": "WSJ0",
        "sources": [1, 1],
    }


def _pseldnets(hparams):
    """One of the networks of PSELDNets."""
    classes = [str(name) for name in hparams["class_names"]]
    model = hparams["modules"]["model"]
    # Only those of the pre-training have so many classes.
    score = None
    if len(classes) == 170:
        score = _SYNTH_SELD.get((model.get("backbone"), hparams["method"]))
    return {
        **_foa(classes),
        "data": "PSELDNets" if score is None else "SYNTH of PSELDNets",
        "published": score and f"SELD {score} on its synthetic test set",
    }


def _baseline(hparams):
    """One of the networks of the baseline of DCASE2024."""
    facts = _foa([str(name) for name in hparams["class_names"]])
    if hparams["array_format"] == "mic":
        facts["channel_order"] = "the four microphones of STARSS23"
    return {**facts, "data": "STARSS23 and synthetic recordings"}


def _foa(classes):
    """What networks for first-order Ambisonics have in common."""
    return {
        "task": "sound event localization and detection",
        "channels": 4,
        "channel_order": "first-order Ambisonics W, Y, Z, X (ACN), SN3D",
        "angles": ANGLES,
        "causal": False,
        "classes": classes,
    }


def _binaural(hparams):
    """A network of SpeechBrain's recipe BinauralWSJ0Mix."""
    model, number = hparams["modules"]["model"], hparams["num_sources"]
    score = _BINAURAL_SNRI.get(model.get("rule"))
    if model.get("causal") or number != 2 or hparams["sample_rate"] != 8000:
        score = None
    return {
        "task": "binaural separation of talkers",
        "channels": 2,
        "channel_order": "left ear, right ear",
        "causal": bool(model.get("causal", False)),
        "data": "Binaural-WSJ0Mix",
        "speech": "WSJ0",
        "sources": [number, number],
        "published": score and f"SNR improvement {score}",
    }


_FACTS = {
    "dual-mic-ssl": _dual_mic,
    "sar-ssl": _sar_ssl,
    "pseldnets": _pseldnets,
    "dcase2024-baseline": _baseline,
    "speechbrain-binaural": _binaural,
}
# Formats whose weights are a whole model that somebody else has trained.
RELEASED = tuple(_FACTS)
