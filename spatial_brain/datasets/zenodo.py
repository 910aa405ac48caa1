"""Parts of a data set from Zenodo, checked against the record itself.

A version of a record never changes, and its description lists name, size and
MD5 of every file: https://developers.zenodo.org/#files.
"""

import re
from pathlib import Path

from spatial_brain.dataio.download import download
from spatial_brain.dataio.json_files import read_json
from spatial_brain.datasets.seld_archives import (
    find_folder,
    is_half_unpacked,
    unpack_part,
)

SERVER = "https://zenodo.org"


def record_files(record, folder, *, server=SERVER, **options):
    """Names and checksums of the files of a record.

    Arguments
    ---------
    record : int
        Number of the record.
    folder : str or Path
        The description is kept there, hidden.
    server : str
        Address.
    **options
        Those of ``spatial_brain.dataio.download.download``.

    Returns
    -------
    dict
        File name to ``"md5:<hex>"``.

    Raises
    ------
    DownloadError
        (an OSError) If the server cannot be reached.
    ValueError
        If the answer is no description of a record.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / ".zenodo-7.json").write_text(
    ...     '{"files": [{"key": "a.zip", "checksum": "md5:00"}]}'
    ... )
    >>> record_files(7, folder)
    {'a.zip': 'md5:00'}
    """
    path = Path(folder, f".zenodo-{record}.json")
    download(f"{server}/api/records/{record}", path, **options)
    try:
        return {
            file["key"]: file["checksum"] for file in read_json(path)["files"]
        }
    except (KeyError, TypeError, ValueError) as error:
        path.unlink()
        raise ValueError(
            f"{server}/api/records/{record}: not the description of a record "
            f"({error!r}); try later, or download the files by hand from "
            f"{server}/records/{record}"
        ) from error


def download_parts(
    record, parts, folder, *, server=SERVER, keep_archives=False, **options
):
    """Download and unpack the parts of a record that are missing.

    Arguments
    ---------
    record : int
        Number of the record.
    parts : sequence of str
        Such as ``("foa_dev", "metadata_dev")``; the archive of each is
        ``<part>.zip``, in one piece or split (``<part>.z01``, ...).
    folder : str or Path
        Where they are unpacked.
    server : str
        Address.
    keep_archives : bool
        Keep those that were downloaded after they were unpacked; archives
        that lay there before are always kept.
    **options
        Those of ``spatial_brain.dataio.download.download``.

    Raises
    ------
    DownloadError
        (an OSError) If a download fails; the same call continues it.
    ValueError
        If a checksum differs, or the record has no such part.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> (folder / "foa_dev").mkdir()
    >>> download_parts(7880637, ["foa_dev"], folder)  # there already
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        part
        for part in parts
        if find_folder(folder, part) is None or is_half_unpacked(folder, part)
    ]
    if not missing:
        return
    checksums = record_files(record, folder, server=server, **options)
    for part in missing:
        pattern = re.escape(part) + r"\.(z\d+|zip(\.\d{3})?)"
        names = sorted(n for n in checksums if re.fullmatch(pattern, n))
        if not names:
            raise ValueError(
                f"{server}/records/{record} has no archive of {part!r}; it has "
                f"{', '.join(sorted(checksums))}"
            )
        for name in names:
            archive, note = folder / name, folder / f".{name}.downloaded"
            # An archive that the user put there has no such note.
            if not archive.exists():
                note.touch()
            url = f"{server}/records/{record}/files/{name}?download=1"
            download(url, archive, checksums[name], **options)
        unpack_part(folder, part)
        for name in names:
            archive, note = folder / name, folder / f".{name}.downloaded"
            if note.exists() and not keep_archives:
                archive.unlink()
            note.unlink(missing_ok=True)
            (folder / f".{name}.lock").unlink(missing_ok=True)
