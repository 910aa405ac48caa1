"""The corpora by name, and where they lie below a data folder."""

from importlib import import_module
from pathlib import Path

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
        raise ValueError(
            f"there is no corpus {name!r}; known: {', '.join(CORPORA)}"
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
    """
    return corpus_class(name)(
        find_corpus(folder, name) or folder, compat, **options
    )
