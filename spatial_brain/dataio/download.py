"""Downloads that survive: resumed, retried, checked, then unpacked.

An unfinished file is kept as ``<name>.part``, with ``<name>.part.json`` beside
it; a later call goes on when the server still has the same file (size, ETag).
Files get their name when they are complete and have their checksum.
"""

import email.utils
import logging
import os
import re
import time
from datetime import datetime, timezone
from pathlib import Path

import requests
from filelock import FileLock
from pooch.hashes import hash_matches

import spatial_brain
from spatial_brain.atomic import full_disk
from spatial_brain.dataio.archives import is_unpacked, unpack
from spatial_brain.dataio.files import (
    check_free_space,
    read_json,
    write_json,
)
from spatial_brain.dataio.parallel import progress

logger = logging.getLogger(__name__)

_USER_AGENT = (
    f"spatial-brain/{spatial_brain.__version__} (research data download) "
    f"python-requests/{requests.__version__}"
)
_RETRIED = frozenset((408, 425, 429, 500, 502, 503, 504))
_HOPELESS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.SSLError,
)
_CHUNK = 1 << 16
_PAGES = (".html", ".htm")
_PAGE_START = re.compile(rb"\s*<(!doctype\s+html|html)\b", re.I)


class DownloadError(OSError):
    """A download failed for good; the message names the remedy."""


def download(
    url,
    path,
    checksum=None,
    *,
    attempts=6,
    timeout=30.0,
    backoff=1.0,
    max_wait=600.0,
):
    """Download a file, continuing an earlier attempt, and check it.

    A file which is there already and has the checksum is kept; without a
    checksum any file of this name is, since files appear only when complete:
    then the server has to state the length, which is compared. A web page is
    not taken for a file of another kind. Two processes that ask for the same
    file wait for each other.

    Arguments
    ---------
    url : str
        Address, http or https.
    path : str or Path
        File to write.
    checksum : str
        ``"md5:<hex>"`` or ``"sha256:<hex>"`` (a bare value is SHA256).
    attempts : int
        Failures in a row, without a byte received, before giving up.
    timeout : float
        Seconds without a response or a byte.
    backoff : float
        Seconds before the first retry; doubled each time, at most 60. A
        ``Retry-After`` of the server goes first.
    max_wait : float
        Longest ``Retry-After`` that is waited for, seconds.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DownloadError
        (an OSError) If the server refuses, sends a web page instead or no
        length to compare, or every attempt failed; what was received is kept
        for the next call.
    ValueError
        If the complete file has another checksum; it is removed.
    OSError
        If the disk has no space for it.

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
    downloader = _ResumingDownloader(
        path.with_name(path.name + ".part"),
        attempts=attempts,
        timeout=timeout,
        backoff=backoff,
        max_wait=max_wait,
        has_checksum=checksum is not None,
    )
    with FileLock(_lock_path(path)):
        if not (path.exists() and hash_matches(path, checksum)):
            downloader(url)
            # Named when it was compared: a kill in between loses nothing.
            if not hash_matches(downloader.part, checksum):
                downloader.forget()
                raise ValueError(
                    f"{url}: what arrived does not have the expected checksum "
                    f"{checksum}, so it was removed. Try again; if it happens "
                    "twice, the file on the server has changed"
                )
            os.replace(downloader.part, path)
        downloader.forget()
    return path


def _lock_path(path):
    """File that a process locks while it downloads another."""
    return path.with_name(f".{path.name}.lock")


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
    download_folder = Path(download_folder or folder)
    paths = [download_folder / name for name in names]
    if not is_unpacked(first, folder, label):
        for url, path, checksum in zip(urls, paths, checksums, strict=True):
            download(url, path, checksum, **options)
        unpack(download_folder / first, folder, label)
    for path in () if keep else paths:
        # Also what a killed call has left; files of others have no lock.
        if _lock_path(path).exists():
            path.unlink(missing_ok=True)
            _lock_path(path).unlink()
    return folder


class _Interrupted(Exception):
    """A transfer broke off; ``wait`` is what the server asked for."""

    def __init__(self, reason, wait=None):
        super().__init__(reason)
        self.wait = wait


class _ResumingDownloader:
    """Brings a file, continuing an unfinished one, ``part``."""

    def __init__(
        self,
        part,
        *,
        attempts,
        timeout,
        backoff,
        max_wait,
        has_checksum,
    ):
        self.part = Path(part)
        self.state_file = self.part.with_name(self.part.name + ".json")
        self.attempts = attempts
        self.timeout = timeout
        self.backoff = backoff
        self.max_wait = max_wait
        self.has_checksum = has_checksum

    def __call__(self, url):
        """Bring ``url`` to ``part``, complete."""
        failures, most = 0, self._received()
        with requests.Session() as session:
            session.headers["User-Agent"] = _USER_AGENT
            # Compression on the way would make byte positions meaningless.
            session.headers["Accept-Encoding"] = "identity"
            while not self._complete(url):
                try:
                    self._transfer(session, url)
                    break
                except _HOPELESS as error:
                    raise DownloadError(f"{url}: {error}") from error
                except (requests.RequestException, _Interrupted) as error:
                    failures = 1 if self._received() > most else failures + 1
                    most = max(most, self._received())
                    self._wait(url, error, failures)

    def forget(self):
        """Remove the unfinished file and what is known about it."""
        self.part.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)

    def _complete(self, url):
        """Whether an earlier call received everything but was killed then."""
        state = self._state()
        return (
            state.get("url") == url
            and bool(state.get("total"))
            and state["total"] == self._received()
        )

    def _received(self):
        """Bytes of the unfinished file."""
        return self.part.stat().st_size if self.part.exists() else 0

    def _wait(self, url, error, failures):
        """Sleep before the next attempt, or give up."""
        if failures >= self.attempts:
            raise DownloadError(
                f"{url}: gave up after {failures} attempts ({error}). "
                f"{self._received()} bytes are kept in {self.part}; run the "
                "same command again to continue"
            ) from error
        wait = getattr(error, "wait", None)
        if wait is None:
            wait = min(60.0, self.backoff * 2 ** (failures - 1))
        elif wait > self.max_wait:
            raise DownloadError(
                f"{url}: the server asks to come back in {wait:.0f} s; run the "
                "same command again then, it will continue"
            ) from error
        logger.warning("%s: %s; trying again in %.0f s", url, error, wait)
        time.sleep(wait)

    def _transfer(self, session, url):
        """One request: receive the file or the rest of it."""
        have, headers = self._resume_headers(url)
        with session.get(
            url, headers=headers, stream=True, timeout=self.timeout
        ) as response:
            if response.status_code == 416:
                self._discard("the server has a shorter file now")
            _check_status(url, response)
            self._check_kind(url, response)
            start, total, validator = _describe(response)
            if response.status_code == 206 and (
                start != have or not self._same_file(total, validator)
            ):
                self._discard("the file on the server has changed")
            if total is not None:
                check_free_space(
                    self.part.parent, total - start, f"downloading {url}"
                )
            if start == 0:
                # Before the new state: old bytes must never pass for new.
                self.part.write_bytes(b"")
            write_json(
                self.state_file,
                {"url": url, "total": total, "validator": validator},
            )
            self._receive(response, start, total)
        if total is not None and self._received() != total:
            raise _Interrupted(
                f"connection ended after {self._received()} of {total} bytes"
            )
        self._check_content(url)

    def _check_kind(self, url, response):
        """Refuse responses of which nothing could be compared later."""
        headers = response.headers
        encoding = headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            raise DownloadError(
                f"{url}: the server compresses the file on the way "
                f"({encoding}), so its length cannot be compared; download it "
                "by hand"
            )
        if headers.get("Content-Type", "").lower().startswith("text/html"):
            self._refuse_page(url)
        # Chunks end with a last one; a closed connection is no end.
        chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
        stated = "Content-Length" in headers or chunked
        if not stated and not self.has_checksum:
            raise DownloadError(
                f"{url}: the server does not state the length and no checksum "
                "is known, so an early end could not be noticed; download it "
                "by hand"
            )

    def _check_content(self, url):
        """Refuse a web page that is labelled as something else."""
        with open(self.part, "rb") as file:
            if _PAGE_START.match(file.read(512)):
                self._refuse_page(url)

    def _refuse_page(self, url):
        """Raise if what is wanted is no web page."""
        if self.part.stem.lower().endswith(_PAGES):
            return
        self.forget()
        raise DownloadError(
            f"{url}: the server sent a web page instead of {self.part.stem}, "
            "perhaps to log in or to confirm; download it by hand"
        )

    def _resume_headers(self, url):
        """Bytes that can be kept, and the headers which ask for the rest."""
        state = self._state()
        have = self._received()
        validator = state.get("validator")
        known = state.get("url") == url and state.get("total")
        # Without a validator, a later checksum finds what does not belong.
        if not have or not known or not (validator or self.has_checksum):
            return 0, {}
        headers = {"Range": f"bytes={have}-"}
        return have, headers | ({"If-Range": validator} if validator else {})

    def _state(self):
        """What is known about the unfinished file."""
        try:
            return read_json(self.state_file)
        except (FileNotFoundError, ValueError):
            return {}

    def _same_file(self, total, validator):
        """Whether a response belongs to the file that was begun."""
        state = self._state()
        return (state.get("total"), state.get("validator")) == (
            total,
            validator,
        )

    def _discard(self, reason):
        """Forget the unfinished file and start again."""
        self.forget()
        raise _Interrupted(f"{reason}; starting from the first byte")

    def _receive(self, response, start, total):
        """Write the body of a response behind the first ``start`` bytes."""
        with (
            full_disk(self.part),
            open(self.part, "r+b") as output,
            progress(
                total=total,
                initial=start,
                description=self.part.stem,
                unit="B",
            ) as bar,
        ):
            output.truncate(start)
            output.seek(start)
            for chunk in response.iter_content(_CHUNK):
                output.write(chunk)
                bar.update(len(chunk))


def _check_status(url, response):
    """Raise for refusals: some are worth another attempt, some are not."""
    status = response.status_code
    if status in (200, 206):
        return
    if status in _RETRIED:
        raise _Interrupted(
            f"server responded {status} {response.reason}",
            _retry_after(response.headers.get("Retry-After")),
        )
    remedy = {
        401: "it needs a login; download it by hand",
        403: "access is refused; download it by hand",
        404: "it does not exist any more; look for its new address",
    }.get(status, "try later or download it by hand")
    raise DownloadError(
        f"{url}: server responded {status} {response.reason}; {remedy}"
    )


def _retry_after(value):
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())


def _describe(response):
    """First byte, total size and validator of a response."""
    headers = response.headers
    etag = headers.get("ETag")
    # Weak tags and dates cannot prove that bytes are the same; a date will do
    # where there is no tag, since size and checksum are looked at too.
    weak = etag is None or etag.startswith("W/")
    validator = headers.get("Last-Modified") if weak else etag
    if response.status_code == 206:
        span = re.fullmatch(
            r"bytes (\d+)-\d+/(\d+)", headers.get("Content-Range", "").strip()
        )
        # A range that cannot be placed matches no unfinished file.
        return (int(span[1]), int(span[2]), validator) if span else (-1, 0, "")
    length = headers.get("Content-Length")
    return 0, None if length is None else int(length), validator
