"""Look at this machine: packages, devices, audio, disk, models and data sets.

Each line is what was found; lines that begin with "problem" say what to do.
Name folders to see which data sets are there, with their licences.
"""

import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path

from spatial_brain import __version__
from spatial_brain.cli.options import add_option, one_line

HELP = "look at this machine: packages, devices, audio, disk, models, data"
_LEAST_FREE = 8  # GB, of an environment with everything


def add_arguments(parser):
    """Add the options of this sub-command.

    Arguments
    ---------
    parser : argparse.ArgumentParser
        Receives them.
    """
    parser.add_argument("folders", nargs="*", help="folders of data sets")
    add_option(parser, "--json")


def run(args):
    """Print what is here.

    Arguments
    ---------
    args : argparse.Namespace
        What ``add_arguments`` adds.

    Raises
    ------
    ValueError
        If something is wrong, after all was printed.
    """
    sections = {
        "packages": _packages(),
        "devices": _devices(),
        "audio": _audio(),
        "disk": _disk(),
        "models": _models(),
    }
    if args.folders:
        sections["data"] = [
            line for folder in args.folders for line in _data(folder)
        ]
    problems = [
        line
        for lines in sections.values()
        for line in lines
        if line.startswith("problem: ")
    ]
    if args.json:
        print(json.dumps(sections))
    else:
        for title, lines in sections.items():
            print("\n".join([title, *(f"  {line}" for line in lines)]))
    if problems:
        raise ValueError(f"{len(problems)} of these lines name a problem")


def _packages():
    """Versions, what is missing or does not fit, and what is optional."""
    from packaging.requirements import Requirement

    lines = [f"Python {platform.python_version()}, spatial-brain {__version__}"]
    if _version("spatial-brain") is None:
        return [*lines, "problem: the package is not installed: pip install ."]
    wanted = map(Requirement, importlib.metadata.requires("spatial-brain"))
    optional, fitting = [], []
    for one in wanted:
        version = _version(one.name)
        if one.marker is not None and not one.marker.evaluate():
            state = version or "not installed"
            optional.append(f"{one.name} {state}")
        elif version is None:
            lines.append(f"problem: {one.name} is missing: {_install(one)}")
        elif not one.specifier.contains(version, prereleases=True):
            lines.append(f"problem: {one.name} is {version}: {_install(one)}")
        else:
            fitting.append(f"{one.name} {version}")
    releases = {
        name: (_version(name) or "").split("+")[0].split(".")[:2]
        for name in ("torch", "torchaudio")
    }
    if releases["torch"] != releases["torchaudio"]:
        lines.append(
            "problem: torch and torchaudio are of two releases: pip install "
            f"torchaudio=={'.'.join(releases['torch'])}.*"
        )
    lines += [", ".join(fitting), "optional: " + ", ".join(optional)]
    return lines


def _version(name):
    """Version of an installed package, None without."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _install(requirement):
    """Line that installs what is required."""
    return f"pip install '{requirement.name}{requirement.specifier}'"


def _devices():
    """Processors, memory and GPUs."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    lines = [
        f"CPU: {os.cpu_count()} cores, {torch.get_num_threads()} threads of "
        f"PyTorch, {memory:.0f} GB of memory",
        f"threads that wait: {os.environ.get('OMP_WAIT_POLICY', 'unset')}",
    ]
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        lines.append(
            f"cuda:{index}: {device.name}, {device.total_memory / 1e9:.0f} GB"
        )
    if not torch.cuda.is_available():
        built = torch.version.cuda
        reason = (
            f"PyTorch is built for CUDA {built}"
            if built
            else "PyTorch is built for CPUs alone"
        )
        lines.append(f"no GPU ({reason}); everything runs on the CPU")
    return lines


def _audio():
    """Formats that can be read, and a file written and read again."""
    import soundfile
    import torch

    from spatial_brain.dataio.audio import read_audio, write_audio
    from spatial_brain.inference.streaming.devices import describe_devices

    formats = soundfile.available_formats()
    named = ("WAV", "FLAC", "OGG", "MP3", "NIST", "CAF")
    lines = [
        f"libsndfile {soundfile.__libsndfile_version__}: "
        + ", ".join(one for one in named if one in formats)
    ]
    lines += [
        f"problem: no {one}; pip install --upgrade soundfile"
        for one in ("WAV", "FLAC")
        if one not in formats
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ramp.wav")
        ramp = torch.linspace(-0.5, 0.5, 32)[:, None].repeat(1, 2)
        write_audio(path, ramp, 16000)
        read, fs = read_audio(path)
    same = fs == 16000 and read.shape == ramp.shape
    if same and torch.allclose(read, ramp, atol=1e-4):
        lines.append("a file was written and read again")
    else:
        lines.append(
            "problem: a file is not read as it was written; "
            "pip install --upgrade soundfile"
        )
    found = "; ".join(describe_devices()) or "none"
    return [*lines, f"input devices (--live): {found}"]


def _disk():
    """Free space here, for temporary files and for models of a hub."""
    from huggingface_hub.constants import HF_HUB_CACHE

    lines = []
    places = {"here": Path.cwd(), "temporary": Path(tempfile.gettempdir())}
    for name, path in {**places, "models of a hub": Path(HF_HUB_CACHE)}.items():
        there = next(one for one in (path, *path.parents) if one.is_dir())
        free = shutil.disk_usage(there).free / 1e9
        lines.append(f"{name}: {path}, {free:.0f} GB free")
        if name == "here" and free < _LEAST_FREE:
            lines.append(f"problem: less than {_LEAST_FREE} GB are free here")
    return lines


def _models():
    """Shipped models, and whether they compute here what they shall."""
    from spatial_brain.inference.pretrained import check_golden
    from spatial_brain.inference.shipped import (
        describe_shipped,
        shipped_folders,
    )

    lines = []
    for name, folder in shipped_folders().items():
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        try:
            share = check_golden(folder)
        except (ValueError, OSError) as error:
            lines.append(
                f"problem: {name}: {one_line(error)}; install the package again"
            )
        else:
            lines.append(
                f"{name}: {size:.1f} MB, computes here what it was published "
                f"with (to {share:.2g} of the tolerance)"
            )
    return lines or [describe_shipped()]


def _data(folder):
    """Data sets in a folder."""
    from spatial_brain.datasets.catalogue import find_known_data

    found = find_known_data(folder)
    if not found:
        return [f"{folder}: no data set that a recipe knows by its folders"]
    return [
        f"{one.name}: {one.folder}; licence: {one.licence}; recipes: "
        + ", ".join(one.recipes)
        for one in found
    ]
