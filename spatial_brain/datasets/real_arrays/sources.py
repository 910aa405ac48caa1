"""Where the corpora of real arrays come from, and where they belong.

Names and sizes of files are those of the pages of the corpora (zenodo, OpenSLR,
Hugging Face, and the servers of their authors); "GB" is as stated there, None
where nothing is. Zenodo publishes a checksum of each file in its record, which
a download asks for. LOCATA's are written down here as well; the other servers
publish none.
"""

from dataclasses import dataclass, field

from spatial_brain.datasets.real_arrays.responses.mir import (
    ARRAYS,
    STEM,
    TIMES,
)

ZENODO = "https://zenodo.org"
_OPENSLR = "https://www.openslr.org/resources"
_ALI = "https://speech-lab-share-data.oss-cn-shanghai.aliyuncs.com"
_AMI = "https://groups.inf.ed.ac.uk/ami/AMICorpusMirror/amicorpus"
_AACHEN = (
    "https://www.iks.rwth-aachen.de/fileadmin/user_upload/downloads/forschung/"
    "tools-downloads"
)
_SCENES = (
    *(f"LivingRoom{number}" for number in range(1, 9)),
    *(f"Classroom{number}" for number in range(1, 4)),
    *(f"OfficeRoom{number}" for number in range(1, 5)),
    *("OfficeLobby", "Library", "Auditorium", "Gym", "Market"),
    *("BadmintonCourt1", "BadmintonCourt2", "SunkenPlaza1"),
    *("BasketballCourt1", "BasketballCourt2", "Cafeteria1", "Cafeteria3"),
    *("UndergroundParking1", "UndergroundParking2"),
    *("Car-Gasoline", "Car-Electric", "Bus-Electric"),
)


@dataclass(frozen=True)
class Files:
    """Files that are downloaded together.

    Arguments
    ---------
    urls : tuple of str
        The parts of one archive, or files.
    into : str
        Sub-folder of the corpus.
    gigabytes : float, optional
        As stated by the corpus.
    checksums : tuple of str, optional
        As for ``dataio.download``, one for each address.
    archive : bool
        Whether they are unpacked and removed; other files stay.

    Example
    -------
    >>> Files(("https://example.org/a.zip",)).archive
    True
    """

    urls: tuple
    into: str = ""
    gigabytes: float | None = None
    checksums: tuple | None = None
    archive: bool = True


@dataclass(frozen=True)
class Source:
    """Where a corpus comes from, and where it belongs below a data folder.

    Arguments
    ---------
    place : str
        Folder below the data folder.
    subsets : dict
        Name to :class:`Files`, or to None with ``hub``; empty: it cannot be
        downloaded.
    record : int, optional
        Number of a record of zenodo, whose checksums are asked for.
    hub : str, optional
        Repository of data sets on Hugging Face; subsets are scenes.
    gigabytes : float, optional
        Of all of it.
    by_hand : str
        What remains to be done by people.

    Example
    -------
    >>> SOURCES["MeshRIR"].place
    'RIR/Mesh'
    """

    place: str
    subsets: dict = field(default_factory=dict)
    record: int | None = None
    hub: str | None = None
    gigabytes: float | None = None
    by_hand: str = ""


def _zenodo(record, *names, **options):
    """Files of a record of zenodo."""
    return Files(
        tuple(f"{ZENODO}/records/{record}/files/{name}" for name in names),
        **options,
    )


def _mir_archives():
    """Archives of MIR by T60 and array."""
    return {
        f"{time}_{array}": Files(
            (f"{_AACHEN}/{STEM}__Reverberation_{time}s__{array}.zip",), STEM
        )
        for time in TIMES
        for array in ARRAYS
    }


def _ami_meetings():
    """Recordings of AMI by meeting: eight channels of the first array."""
    series = {
        **{f"ES{n}": "abcd" for n in range(2002, 2017)},
        **{f"IS{n}": "abcd" for n in range(1000, 1010)},
        **{f"TS{n}": "abcd" for n in range(3003, 3013)},
        "IS1002": "bcd",
        "IS1005": "abc",
        "EN2001": "abde",
        "EN2002": "abcd",
        "EN2003": "a",
        "EN2004": "a",
        "EN2005": "a",
        "EN2006": "ab",
        "EN2009": "bcd",
    }
    single = (4001, 4002, 4003, 4004, 4005, 4010, 4011)
    meetings = [name + part for name, parts in series.items() for part in parts]
    meetings += [f"IB{number}" for number in single]
    numbers = (1001, 1002, 1005, 1007, 1008, 1009, 1012, 1013, 1014, 1016)
    meetings += [f"IN{number}" for number in numbers]
    found = {}
    for meeting in sorted(meetings):
        kind = "" if meeting[1] == "S" else "Non"
        found[meeting] = Files(
            tuple(
                f"{_AMI}/{meeting}/audio/{meeting}.Array1-0{channel}.wav"
                for channel in range(1, 9)
            ),
            f"{kind}ScenarioMeetings/{meeting}/audio",
            archive=False,
        )
    return found


def _openslr(folder, name, gigabytes):
    """An archive of OpenSLR."""
    return Files((f"{_OPENSLR}/{folder}/{name}",), gigabytes=gigabytes)


def _ali(name, gigabytes, into=""):
    """An archive of AliMeeting."""
    url = f"{_ALI}/AliMeeting/openlr/{name}"
    return Files((url,), into, gigabytes)


SOURCES = {
    "MIR": Source("RIR/MIR", _mir_archives()),
    "MeshRIR": Source(
        "RIR/Mesh", {"S32": _zenodo(5500451, "S32-M441_npy.zip")}, 5500451
    ),
    "DCASE": Source(
        "RIR/DCASE",
        {
            "rir": _zenodo(
                6408611,
                "TAU-SRIR_DB.z01",
                "TAU-SRIR_DB.z02",
                "TAU-SRIR_DB.z03",
                "TAU-SRIR_DB.zip",
            ),
            "noise": _zenodo(6408611, "TAU-SNoise_DB.z01", "TAU-SNoise_DB.zip"),
        },
        6408611,
    ),
    "dEchorate": Source(
        "RIR/dEchorate",
        {
            name: _zenodo(6576203, f"dEchorate_{file}", archive=False)
            for name, file in (
                ("rir", "rir.h5"),
                ("annotations", "annotations.h5"),
                ("database", "database.csv"),
            )
        },
        6576203,
        by_hand=(
            "Whole recordings of noise, dEchorate_{noise,babble,silence}"
            "_gzip7.hdf5, and responses that the authors prefer to those on "
            "zenodo are in the Google Drive folder that "
            "https://github.com/Chutlhu/dEchorate links; put them beside the "
            "others."
        ),
    ),
    "BUTReverb": Source(
        "RIR/BUTReverb",
        {
            "RIR-Only": Files(
                (
                    "http://merlin.fit.vutbr.cz/ReverbDB/"
                    "BUT_ReverbDB_rel_19_06_RIR-Only.tgz",
                ),
                "RIRs",
            )
        },
    ),
    "ACE": Source(
        "RIR/ACE",
        {
            **{
                array: _zenodo(
                    6257551, f"ACE_Corpus_RIRN_{array}.tbz2", into="RIRN"
                )
                for array in ("Chromebook", "Mobile", "Lin8Ch", "EM32")
            },
            "Data": _zenodo(6257551, "ACE_Corpus_Data.tbz2"),
        },
        6257551,
    ),
    "LOCATA": Source(
        "MicSig/LOCATA",
        {
            "dev": _zenodo(
                3630471,
                "dev.zip",
                gigabytes=6.2,
                checksums=("md5:d5a5417c3f6b2ed0e43581dd06f504e6",),
            ),
            "eval": _zenodo(
                3630471,
                "eval.zip",
                gigabytes=13.0,
                checksums=("md5:46709713350bc16c106e788920d30a8b",),
            ),
        },
    ),
    "MC_WSJ_AV": Source(
        "MicSig/MC_WSJ_AV",
        by_hand=(
            "Ask the Linguistic Data Consortium for LDC2014S03 (a fee for "
            "those who are not members) and put the folders MC_WSJ_AV_Dev and "
            "MC_WSJ_AV_Eval there."
        ),
    ),
    "LibriCSS": Source(
        "MicSig/LibriCSS",
        by_hand=(
            "Clone the repository, run dataprep/scripts/dataprep.sh in it "
            "(it downloads from Google Drive), and put its folder exp there."
        ),
    ),
    "AMI": Source("MicSig/AMI", _ami_meetings(), gigabytes=92.0),
    "AISHELL4": Source(
        "MicSig/AISHELL-4",
        {
            "train_L": _openslr(111, "train_L.tar.gz", 7.0),
            "train_M": _openslr(111, "train_M.tar.gz", 25.0),
            "train_S": _openslr(111, "train_S.tar.gz", 14.0),
            "test": _openslr(111, "test.tar.gz", 5.2),
        },
    ),
    "AliMeeting": Source(
        "MicSig/AliMeeting",
        {
            "Train": _ali("Train_Ali_far.tar.gz", 73.24, "Train_Ali"),
            "Eval": _ali("Eval_Ali.tar.gz", 3.42),
            "Test": _ali("Test_Ali.tar.gz", 8.9),
        },
    ),
    "RealMAN": Source(
        "MicSig/RealMAN",
        dict.fromkeys(_SCENES),
        hub="AISHELL/RealMAN",
        gigabytes=689.4,
        by_hand=(
            "The archives are RAR files, one a scene: unpack each in the "
            "folder where it is put (unrar x LivingRoom1.rar)."
        ),
    ),
}
