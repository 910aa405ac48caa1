"""LibriCSS: LibriSpeech played by loudspeakers in a meeting room.

``exp/data/7ch/utterances/overlap_ratio_0.0_*/**/*.wav``: what the corpus's
``dataprep.sh`` makes of it, seven channels at 16 kHz. Z. Chen et al., ICASSP
2020.
"""

from spatial_brain.datasets.real_arrays.recordings.sessions import (
    Session,
    SessionCorpus,
    audio_below,
)
from spatial_brain.folders import find_folders
from spatial_brain.geometry import MicrophoneArray

_ARRAY = "libricss"
_UTTERANCES = "exp/data/7ch/utterances"
_WITHOUT_OVERLAP = "overlap_ratio_0.0_"


class LibriCSS(SessionCorpus):
    """Utterances of the sessions in which nobody speaks at the same time.

    Arguments
    ---------
    folder : str or Path
        Holds ``exp/data/7ch/utterances``.
    compat : bool
        There is nothing to keep.

    Example
    -------
    >>> LibriCSS.name, LibriCSS.expected["pairs"]
    ('LibriCSS', 21)
    """

    name = "LibriCSS"
    folders = ("LibriCSS", "libri_css")
    url = "https://github.com/chenzhuo1011/libri_css"
    licence = "not stated; LibriSpeech has CC BY 4.0"
    expected = {"rooms": 1, "pairs": 21}
    MARKERS = (_UTTERANCES,)

    @property
    def arrays(self):
        """A microphone in the centre of six."""
        return {_ARRAY: MicrophoneArray.named(_ARRAY)}

    def _find(self):
        """Utterances; all are for training."""
        folder = self.folder / _UTTERANCES
        if not folder.is_dir():
            hint = []
            if (self.folder / "exp").is_dir():
                hint = [f"{folder} is missing; run the corpus's dataprep.sh"]
            return [], [], hint
        conditions = [
            path
            for path in find_folders(folder)
            if path.name.startswith(_WITHOUT_OVERLAP)
        ]
        paths = [p for path in conditions for p in audio_below(path, ".wav")]
        sessions = [
            Session(
                path.relative_to(folder).with_suffix("").as_posix(),
                "room",
                _ARRAY,
                "train",
                (path,),
            )
            for path in paths
        ]
        others = []
        if not sessions:
            others.append(f"{folder}: no recordings in {_WITHOUT_OVERLAP}*")
        return sessions, [], others
