"""The corpora by name, and where they lie below a data folder."""

import inspect
from importlib import import_module
from pathlib import Path

from spatial_brain.dataio.files import read_json, write_json
from spatial_brain.datasets.real_arrays.corpus import Preflight
from spatial_brain.datasets.real_arrays.sources import SOURCES
from spatial_brain.datasets.real_arrays.trees import find_misplaced
from spatial_brain.folders import find_folders
from spatial_brain.suggestions import nearest

# Name to module and class; a reader is imported when it is asked for.
_READERS = {
    "MIR": "responses.mir.MIRResponses",
    "MeshRIR": "responses.meshrir.MeshRIRResponses",
    "DCASE": "responses.dcase.TAUResponses",
    "dEchorate": "responses.dechorate.DEchorateResponses",
    "BUTReverb": "responses.butreverb.BUTReverb",
    "ACE": "responses.ace.ACE",
    "LOCATA": "recordings.locata.Locata",
    "MC_WSJ_AV": "recordings.mc_wsj_av.MCWSJAV",
    "LibriCSS": "recordings.libricss.LibriCSS",
    "AMI": "recordings.ami.AMI",
    "AISHELL4": "recordings.aishell4.AISHELL4",
    "AliMeeting": "recordings.alimeeting.AliMeeting",
    "RealMAN": "recordings.realman.RealMAN",
    "TABLE": "responses.table.TableResponses",
}
CORPORA = tuple(_READERS)
# Below a data folder, as SAR-SSL lays them out, or beside each other.
_PLACES = ("", "RIR", "MicSig")
# Which synthetic corpora of a data folder are finished, and their options.
_FINISHED = "synthetic.json"


def corpus_class(name):
    """Reader of a corpus.

    Arguments
    ---------
    name : str
        One of ``CORPORA``.

    Returns
    -------
    type
        A subclass of ``ArrayCorpus``.

    Raises
    ------
    ValueError
        If there is no such corpus.

    Example
    -------
    >>> corpus_class("TABLE").__name__
    'TableResponses'
    """
    if name not in _READERS:
        meant = nearest(name, CORPORA)
        hint = f"; did you mean {meant}?" if meant else ""
        raise ValueError(
            f"there is no corpus {name!r}; known: {', '.join(CORPORA)}{hint}"
        )
    module, _, reader = _READERS[name].rpartition(".")
    package = __package__ + "." + module
    return getattr(import_module(package), reader)


def find_corpus(data_folder, name):
    """Folder of a corpus below a data folder.

    Arguments
    ---------
    data_folder : str or Path
        Holds the corpora, themselves or in ``RIR`` and ``MicSig``.
    name : str
        One of ``CORPORA``.

    Returns
    -------
    Path or None
        None if it is not there.
    """
    for place in _PLACES:
        for folder in corpus_class(name).folders:
            path = Path(data_folder, place, folder)
            if path.is_dir():
                return path
    return None


def open_corpus(name, folder, compat=False, **options):
    """Open a corpus by its name.

    Arguments
    ---------
    name : str
        One of ``CORPORA``.
    folder : str or Path
        The corpus itself, or a folder that holds corpora.
    compat : bool or sequence of str
        Faults of the original system to keep.
    **options
        More arguments of its reader.

    Returns
    -------
    ArrayCorpus

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If its reader has no such option.
    """
    reader = corpus_class(name)
    known = [*inspect.signature(reader).parameters][1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"{name} has no option {', '.join(unknown)}; known: "
            f"{', '.join(known)}"
        )
    return reader(find_corpus(folder, name) or folder, compat, **options)


def look_for(name, data_folder, **options):
    """What is there of a corpus, wherever it is; never an error.

    Arguments
    ---------
    name : str
        One of ``CORPORA``.
    data_folder : str or Path
        Holds corpora.
    **options
        Of :func:`open_corpus`; with ``folder`` the corpus lies there.

    Returns
    -------
    Preflight
        Its problems say whether the corpus lies elsewhere or under another
        name, or why it cannot be read.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "RIR" / "Mesh-RIR").mkdir(parents=True)
    >>> print(look_for("MeshRIR", folder).line())
    MeshRIR in ...: nothing; not in RIR/Mesh, but there is RIR/Mesh-RIR; ...
    """
    folder = options.pop("folder", None) or find_corpus(data_folder, name)
    if folder is None:
        problem = _not_there(Path(data_folder), name)
        return Preflight(name, Path(data_folder), problems=[problem])
    try:
        return open_corpus(name, folder, **options).preflight()
    except (OSError, ValueError) as problem:
        return Preflight(name, Path(folder), problems=[str(problem)])


def _not_there(data_folder, name):
    """Line about a corpus that is not where it should be."""
    names = corpus_class(name).folders
    place = SOURCES[name].place if name in SOURCES else names[0]
    text = f"not in {place}"
    for folder in names:
        found = find_misplaced(data_folder, folder)
        if found is not None:
            return f"{text}, but in {found / folder}; give that as its folder"
    others = {n for one in CORPORA for n in corpus_class(one).folders}
    others.update(_PLACES)
    there = {
        path.name: path
        for part in _PLACES
        if (data_folder / part).is_dir()
        for path in find_folders(data_folder / part)
        if path.name not in others
    }
    for folder in names:
        similar = nearest(folder, sorted(there))
        if similar is not None:
            path = there[similar].relative_to(data_folder)
            return (
                f"{text}, but there is {path}; rename it or give it as its "
                "folder if that is it"
            )
    return text


def write_synthetic_corpora(data_folder, corpora):
    """Write synthetic corpora to where the real ones are looked for.

    Those that are finished are kept; with other options they are made again.
    Real data are never touched.

    Arguments
    ---------
    data_folder : str or Path
        Gets ``RIR/MIR``, ``MicSig/LOCATA`` and so on.
    corpora : dict
        Name of a corpus to arguments of its ``write_synthetic_...``, a dict
        or None; all but TABLE have one.

    Raises
    ------
    ValueError
        If a name is not known, or real data lie there.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_synthetic_corpora(
    ...     folder, {"LibriCSS": {"utterances": 1, "duration": 0.5}}
    ... )
    >>> find_corpus(folder, "LibriCSS").relative_to(folder).as_posix()
    'MicSig/LibriCSS'
    """
    data_folder = Path(data_folder)
    record = data_folder / _FINISHED
    finished = read_json(record) if record.is_file() else {}
    for name, options in corpora.items():
        corpus_class(name)
        if name not in SOURCES:
            raise ValueError(f"{name} has no synthetic data; leave it out")
        folder = data_folder / SOURCES[name].place
        if finished.get(name) == (options or {}) and folder.is_dir():
            continue
        module = _READERS[name].split(".")[1]
        writers = import_module(f"{__package__}.synthetic.{module}")
        getattr(writers, f"write_synthetic_{module}")(folder, **(options or {}))
        finished[name] = options or {}
        write_json(record, finished)
