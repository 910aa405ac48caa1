"""Pretrained folders: what a run leaves for inference."""

import io
from pathlib import Path

import ruamel.yaml
from hyperpyyaml import resolve_references

from spatial_brain.atomic import atomic_path
from spatial_brain.inference.pretrained.safe_yaml import check_tags
from spatial_brain.inference.pretrained.weights import save_weights


def save_pretrained(folder, hparams_text, keys, modules, extra=None):
    """Write a folder from which a model can be used at once.

    Arguments
    ---------
    folder : str or Path
        Usually ``<output_folder>/pretrained``; made if it is missing.
    hparams_text : str
        HyperPyYAML text of the run, such as the ``hyperparams.yaml`` of its
        output folder. It must hold ``modules``.
    keys : sequence of str
        Top-level keys that the inference needs beside ``modules``.
    modules : dict of torch.nn.Module
        What to save; each name must be one of the YAML's ``modules``. Other
        entries there, such as losses, are left out.
    extra : dict, optional
        Plain values to add, replacing those of the text.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        If a key or module is not in the text, or a kept part uses tags that
        a pretrained folder may not hold.

    Example
    -------
    >>> import torch
    >>> text = "size: 2\\nnet: !new:torch.nn.Linear [!ref <size>, 1]\\n"
    >>> text += "modules: {net: !ref <net>}"
    >>> net = torch.nn.Linear(2, 1)
    >>> folder = getfixture("tmp_path") / "pretrained"
    >>> path = save_pretrained(folder, text, ["size"], {"net": net})
    >>> sorted(file.name for file in path.iterdir())
    ['hyperparams.yaml', 'net.safetensors']
    >>> print((path / "hyperparams.yaml").read_text())
    modules:
      net: !new:torch.nn.Linear [2, 1]
    size: 2
    """
    folder = Path(folder)
    subset = _subset(hparams_text, keys, modules, extra or {})
    for name, module in modules.items():
        save_weights(folder / f"{name}.safetensors", module)
    _write_hparams(folder, subset)
    return folder


def save_hparams(folder, hparams_text, keys, modules, extra=None):
    """Write the hyper-parameters of a pretrained folder alone.

    Arguments
    ---------
    folder : str or Path
        Made if it is missing.
    hparams_text, keys
        As for ``save_pretrained``.
    modules : sequence of str
        Names of the modules to keep.
    extra : dict, optional
        As for ``save_pretrained``.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ValueError
        As ``save_pretrained``.

    Example
    -------
    >>> text = "modules: {net: !new:torch.nn.Linear [2, 1]}\\nsize: 2"
    >>> path = save_hparams(getfixture("tmp_path"), text, ["size"], ["net"])
    >>> [file.name for file in path.iterdir()]
    ['hyperparams.yaml']
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _write_hparams(folder, _subset(hparams_text, keys, modules, extra or {}))
    return folder


def _subset(hparams_text, keys, modules, extra):
    """YAML text of the keys and modules that an inference needs."""
    yaml = ruamel.yaml.YAML()
    run = yaml.load(resolve_references(hparams_text).getvalue())
    require_names("keys", [key for key in keys if key not in extra], run)
    require_names("keys", ["modules"], run)
    require_names("modules", modules, run["modules"])
    subset = ruamel.yaml.CommentedMap()
    subset["modules"] = ruamel.yaml.CommentedMap(
        (name, run["modules"][name]) for name in modules
    )
    subset.update({key: run[key] for key in keys if key not in extra})
    subset.update(extra)
    stream = io.StringIO()
    yaml.dump(subset, stream)
    # Classes of the user's own may be kept; they are named when loading.
    check_tags(stream.getvalue(), "the pretrained subset")
    return stream.getvalue()


def _write_hparams(folder, text):
    """Write the YAML file of a pretrained folder."""
    with atomic_path(folder / "hyperparams.yaml") as temporary:
        temporary.write_text(text, encoding="utf-8")


def require_names(what, names, mapping):
    """Raise ValueError if names are not in a mapping."""
    missing = [name for name in names if name not in mapping]
    if missing:
        raise ValueError(
            f"{what} not in the hyper-parameters: {', '.join(missing)}; "
            f"there are: {', '.join(mapping)}"
        )
