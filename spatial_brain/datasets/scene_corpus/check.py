"""Table of contents of a corpus of scenes, and whether all of it is right."""

from functools import partial
from pathlib import Path

from spatial_brain.dataio.annotations import read_events
from spatial_brain.dataio.audio import audio_info, check_audio
from spatial_brain.dataio.files import file_digest, read_json, write_json
from spatial_brain.dataio.parallel import progress, run_jobs
from spatial_brain.datasets.scene_corpus.generate import (
    METADATA,
    SCENES,
    is_complete,
)
from spatial_brain.datasets.scene_corpus.options import scene_options
from spatial_brain.datasets.scene_corpus.statistics import corpus_statistics
from spatial_brain.datasets.synthetic_data import synthetic_options
from spatial_brain.folders import find_files

CONTENTS = "corpus.json"
_SHOWN = 3


def corpus_options(corpus):
    """Options and classes that a corpus was made with.

    Arguments
    ---------
    corpus : str or Path
        Its folder.

    Returns
    -------
    SceneOptions

    Raises
    ------
    FileNotFoundError
        If the folder holds no corpus of scenes.

    Example
    -------
    >>> corpus_options("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: nowhere: no corpus of scenes lies here; ...
    """
    made = synthetic_options(corpus)
    if made is None or "sounds" not in made:
        raise FileNotFoundError(
            f"{corpus}: no corpus of scenes lies here; write one with "
            "'spatial-brain synth scenes.yaml --output FOLDER'"
        )
    made = {
        key: value
        for key, value in made.items()
        if key not in ("sounds", "ambience", "measured")
    }
    return scene_options(made, corpus)


def merge_corpus(corpus, num_workers=1):
    """Check that all scenes are there and write the table of contents.

    Arguments
    ---------
    corpus : str or Path
        Folder that one or several ranks have filled.
    num_workers : int
        Processes.

    Returns
    -------
    dict
        Content of ``corpus.json``: "options", "statistics" as
        ``corpus_statistics`` gives them, and "files" with sizes and SHA-256.

    Raises
    ------
    FileNotFoundError
        If the folder holds no corpus.
    ValueError
        If scenes are missing.
    """
    corpus = Path(corpus)
    options = corpus_options(corpus)
    names = [options.name(index) for index in range(options.scenes)]
    missing = [name for name in names if not is_complete(corpus, name)]
    if missing:
        raise ValueError(
            f"{corpus}: {len(missing)} of {len(names)} scenes are not "
            f"complete ({_some(missing)}); run the command that writes them "
            "again, on all ranks"
        )
    files = {}
    for name in names:
        files |= read_json(corpus / SCENES / f"{name}.json")["files"]
    contents = {
        "options": options.as_dict(),
        "statistics": corpus_statistics(corpus, options, names, num_workers),
        "files": dict(sorted(files.items())),
    }
    write_json(corpus / CONTENTS, contents)
    return contents


def verify_corpus(corpus, num_workers=1):
    """Read a whole corpus and report what is wrong with it.

    Every file must be there and be what was written, bit for bit; recordings
    must have their rate, channels and length, labels must lie within the
    scene and the classes; nothing else may lie among them.

    Arguments
    ---------
    corpus : str or Path
        Its folder.
    num_workers : int
        Processes.

    Returns
    -------
    list of str
        A line for each problem, naming the file; empty if all is right.

    Raises
    ------
    FileNotFoundError
        If the folder holds no corpus.
    """
    corpus = Path(corpus)
    options = corpus_options(corpus)
    names = [options.name(index) for index in range(options.scenes)]
    check = partial(_scene_problems, corpus=corpus, options=options)
    found = {}
    with progress(
        total=len(names), description="verifying", unit="scene"
    ) as bar:
        for index, problems in run_jobs(check, names, num_workers):
            found[index] = problems
            bar.update()
    problems = [line for index in sorted(found) for line in found[index]]
    return problems + _strays(corpus, options, names)


def _some(names):
    """The first of some names."""
    more = ", ..." if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _scene_problems(name, *, corpus, options):
    """What is wrong with a scene."""
    path = corpus / SCENES / f"{name}.json"
    try:
        record = read_json(path)
        files = record["files"]
    except FileNotFoundError:
        return [f"{path}: not there; run the command that writes it again"]
    except (ValueError, KeyError) as problem:
        return [f"{path}: damaged ({problem}); remove it and write it again"]
    problems = []
    for file, entry in files.items():
        path = corpus / file
        if not path.is_file():
            problem = "not there; run the command that writes it again"
        elif file_digest(path) != entry["sha256"]:
            problem = "not what was written; remove it and write it again"
        else:
            problem = _content_problem(path, record, options)
        if problem:
            problems.append(f"{path}: {problem}")
    return problems


def _content_problem(path, record, options):
    """What is wrong with the content of a file; None if all is right."""
    try:
        if path.parent.name == METADATA:
            table = read_events(
                path,
                options.dialect,
                num_classes=len(options.classes),
                num_frames=record["num_frames"],
            )
            last = table.frame.max(initial=-1)
            if last >= record["num_frames"]:
                return f"has frame {last} of {record['num_frames']}"
            return None
        info = audio_info(path)
        check_audio(info, fs=options.sample_rate)
        if info.num_samples != record["num_samples"]:
            return (
                f"has {info.num_samples} samples, expected "
                f"{record['num_samples']}"
            )
    except ValueError as problem:
        return str(problem).removeprefix(f"{path}: ")
    return None


def _strays(corpus, options, names):
    """Files among those of the corpus that are not its own."""
    own = {f"{SCENES}/{name}.json" for name in names}
    own |= {f"{METADATA}/{name}.csv" for name in names}
    for form in options.formats:
        own |= {f"{form}/{name}.{options.audio}" for name in names}
    problems = []
    for folder in (*options.formats, METADATA, SCENES):
        if (corpus / folder).is_dir():
            for path in find_files(corpus / folder):
                if path.relative_to(corpus).as_posix() not in own:
                    problems.append(f"{path}: is no file of this corpus")
    return problems
