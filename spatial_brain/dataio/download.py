"""Downloads that survive: resumed, retried, checked, then unpacked.

``pooch`` compares checksums and gives files their name only when complete;
the transfer is ``spatial_brain.dataio.transfer``.
"""

from pathlib import Path

import pooch
from filelock import FileLock

from spatial_brain.dataio.archives import is_unpacked, unpack
from spatial_brain.dataio.transfer import DownloadError, ResumingDownloader

__all__ = [
    "DownloadError",
    "ResumingDownloader",
    "download",
    "fetch_and_unpack",
]


def download(url, path, checksum=None, **options):
    """Download a file, continuing an earlier attempt, and check it.

    A file which is there already and has the checksum is kept; without a
    checksum any file of this name is, since files appear only when complete.
    Two processes that ask for the same file wait for each other.

    Arguments
    ---------
    url : str
        Address, http or https.
    path : str or Path
        File to write.
    checksum : str
        ``"md5:<hex>"`` or ``"sha256:<hex>"`` (a bare value is SHA256).
    **options
        ``attempts``, ``timeout``, ``backoff``, ``max_wait`` of
        ``ResumingDownloader``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DownloadError
        (an OSError) If the server refuses or every attempt failed; what was
        received is kept for the next call.
    ValueError
        If the complete file has another checksum; it is removed.
    OSError
        If the disk has no room for it.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.txt"
    >>> _ = path.write_bytes(b"abc")
    >>> md5 = "md5:900150983cd24fb0d6963f7d28e17f72"
    >>> download("https://example.org/a.txt", path, md5) == path
    True
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    downloader = ResumingDownloader(
        path.with_name(path.name + ".part"),
        has_checksum=checksum is not None,
        **options,
    )
    with FileLock(path.with_name(f".{path.name}.lock")):
        try:
            pooch.retrieve(
                url,
                known_hash=checksum,
                fname=path.name,
                path=path.parent,
                downloader=downloader,
            )
        except ValueError as error:
            raise ValueError(
                f"{url}: what arrived does not have the expected checksum "
                f"{checksum}, so it was removed ({error}). Try again; if it "
                "happens twice, the file on the server has changed"
            ) from error
    return path


def fetch_and_unpack(
    urls, folder, checksums=None, *, download_folder=None, keep=False, **options
):
    """Download an archive and unpack it; done once, whatever is interrupted.

    Arguments
    ---------
    urls : str or list of str
        Address, or the addresses of all parts of a split zip (``.z01``, ...,
        ``.zip``, in any order).
    folder : str or Path
        Where it is unpacked.
    checksums : str or list of str
        One for each address, as for ``download``; None checks nothing.
    download_folder : str or Path
        Where the archive is put; None is ``folder``.
    keep : bool
        Keep the archive after it was unpacked without error.
    **options
        Those of ``download``.

    Returns
    -------
    Path
        ``folder``.

    Raises
    ------
    DownloadError
        If the download fails.
    ValueError
        If a checksum differs, or the archive is damaged or unsafe; it is
        kept then.

    Example
    -------
    >>> import zipfile
    >>> folder = getfixture("tmp_path")
    >>> with zipfile.ZipFile(folder / "mic.zip", "w") as file:
    ...     file.writestr("mic_dev/a.txt", "hello")
    >>> _ = unpack(folder / "mic.zip", folder)
    >>> # Unpacked already: the server is not asked.
    >>> fetch_and_unpack("https://example.org/mic.zip", folder) == folder
    True
    """
    urls = [urls] if isinstance(urls, str) else list(urls)
    if checksums is None or isinstance(checksums, str):
        checksums = [checksums] * (1 if checksums else len(urls))
    if len(checksums) != len(urls):
        raise ValueError(
            f"{len(urls)} addresses but {len(checksums)} checksums"
        )
    folder = Path(folder)
    names = [url.split("?")[0].rstrip("/").rsplit("/", 1)[-1] for url in urls]
    whole = [name for name in names if name.lower().endswith(".zip")]
    first = (whole or sorted(names))[0]
    label = checksums[names.index(first)]
    if is_unpacked(first, folder, label):
        return folder
    download_folder = Path(download_folder or folder)
    paths = [
        download(url, download_folder / name, checksum, **options)
        for url, name, checksum in zip(urls, names, checksums, strict=True)
    ]
    unpack(download_folder / first, folder, label)
    if not keep:
        for path in paths:
            path.unlink()
            path.with_name(f".{path.name}.lock").unlink(missing_ok=True)
    return folder
