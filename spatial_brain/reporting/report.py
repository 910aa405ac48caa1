"""Self-contained HTML reports: tables, pictures and text in one file."""

import base64
import io
import platform
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile
import speechbrain
import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure

from spatial_brain import __version__
from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import resample_audio
from spatial_brain.reporting.plots import figure_to_svg, training_curves

MAX_RATE = 16000
PEAK = 0.7
_PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
}
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


class Report:
    """An HTML page built piece by piece; every ``add_`` returns the report.

    The written file needs nothing else: styles and pictures are inside, and
    it follows the reader's light or dark theme and screen width.

    Arguments
    ---------
    title : str
        Heading of the page.
    subtitle : str, optional
        A sentence below it.

    Example
    -------
    >>> report = Report("Two talkers").add_section("Results")
    >>> _ = report.add_table(["method", "error"], [["network", 4.123]])
    >>> path = report.write(getfixture("tmp_path") / "report.html")
    >>> "<td>4.12</td>" in path.read_text()
    True
    """

    def __init__(self, title, subtitle=None):
        self.title = title
        self.subtitle = subtitle
        self._tiles, self._sections, self._parts = [], [], []

    def add_headline(self, value, label, main=False):
        """Add a big number at the top.

        Arguments
        ---------
        value : str
            Number with its unit.
        label : str
            What it is.
        main : bool
            Whether it is the one the page is about.

        Returns
        -------
        Report
            This report.
        """
        self._tiles.append({"value": value, "label": label, "main": main})
        return self

    def add_section(self, title):
        """Start a section; the page's navigation leads to it.

        Arguments
        ---------
        title : str
            Heading.

        Returns
        -------
        Report
            This report.
        """
        self._sections.append(title)
        number = len(self._sections)
        return self._add("section", number=number, title=title)

    def add_text(self, text):
        """Add paragraphs, parted by empty lines.

        Arguments
        ---------
        text : str
            Plain text.

        Returns
        -------
        Report
            This report.
        """
        return self._add("text", paragraphs=text.split("\n\n"))

    def add_table(self, header, rows, caption=None, emphasis=None, digits=2):
        """Add a table; it scrolls sideways on a narrow screen.

        Arguments
        ---------
        header : sequence of str
            Names of the columns.
        rows : sequence of sequence
            Cells: text, numbers, or None for what was not measured.
        caption : str, optional
            Sentence below.
        emphasis : int, optional
            Row to stand out.
        digits : int or sequence of int
            Decimal places of floating-point cells, one a column if several.

        Returns
        -------
        Report
            This report.

        Raises
        ------
        ValueError
            If a row has another length than the header.
        """
        rows = [list(row) for row in rows]
        for row in rows:
            if len(row) != len(header):
                raise ValueError(
                    f"a table with columns {list(header)} cannot hold the row "
                    f"{row}"
                )
        textual = [
            any(isinstance(row[column], str) for row in rows)
            for column in range(len(header))
        ]
        if isinstance(digits, int):
            digits = [digits] * len(header)
        cells = [
            [_cell(*pair) for pair in zip(row, digits, strict=True)]
            for row in rows
        ]
        return self._add(
            "table",
            header=header,
            textual=textual,
            rows=cells,
            caption=caption,
            emphasis=emphasis,
        )

    def add_figure(self, figure, caption=None):
        """Add one picture.

        Arguments
        ---------
        figure : matplotlib.figure.Figure or str or Path
            Drawn as SVG in the page's colours; or a png, jpg or svg file,
            which is put into the page.
        caption : str, optional
            Sentence below.

        Returns
        -------
        Report
            This report.

        Raises
        ------
        ValueError
            If a file is no picture that browsers show.
        """
        wide = not isinstance(figure, Figure) or figure.get_figwidth() > 6
        size = "wide" if wide else "single"
        return self._add("figure", picture=_picture(figure, caption), size=size)

    def add_figures(self, figures, captions=None):
        """Add pictures side by side, as many as the screen is wide for.

        Arguments
        ---------
        figures : sequence
            As ``add_figure`` takes them.
        captions : sequence of str, optional
            One each.

        Returns
        -------
        Report
            This report.
        """
        captions = captions or [None] * len(figures)
        pictures = [
            _picture(figure, caption)
            for figure, caption in zip(figures, captions, strict=True)
        ]
        small = all(
            isinstance(figure, Figure) and figure.get_figwidth() < 5
            for figure in figures
        )
        return self._add("figures", pictures=pictures, small=small)

    def add_audio(self, waveform, fs, caption=None):
        """Add a player; the sound is inside the page, as 16-bit FLAC.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [time], of at least one sample; scaled to a peak of 0.7.
        fs : int
            Sampling rate, Hz; above 16 kHz it is reduced to that.
        caption : str, optional
            Sentence below.

        Returns
        -------
        Report
            This report.

        Raises
        ------
        ValueError
            If the waveform is empty or has channels.
        """
        waveform = torch.as_tensor(waveform).detach().cpu().float()
        if waveform.ndim != 1 or not len(waveform):
            raise ValueError(
                "a player needs a waveform [time] with samples, got shape "
                f"{tuple(waveform.shape)}"
            )
        if fs > MAX_RATE:
            waveform = resample_audio(waveform[:, None], fs, MAX_RATE)[:, 0]
            fs = MAX_RATE
        waveform = PEAK * waveform / waveform.abs().max().clamp(min=1e-8)
        sound = _sound(waveform.numpy(), fs, caption)
        return self._add("audio", sound=sound)

    def add_players(self, signals, fs):
        """Add players side by side, with cues and relative levels kept.

        Arguments
        ---------
        signals : dict
            Caption to waveform [time, 2 (left, right)]. One gain for all of
            them, so that the loudest peak is 0.7.
        fs : int
            Sampling rate, Hz.

        Returns
        -------
        Report
            This report.

        Example
        -------
        >>> report = Report("Ears")
        >>> _ = report.add_players({"mixture": np.ones((80, 2))}, 8000)
        >>> path = report.write(getfixture("tmp_path") / "a.html")
        >>> path.read_text().count("<audio")
        1
        """
        peak = max(np.abs(signal).max() for signal in signals.values())
        gain = PEAK / max(float(peak), 1e-8)
        sounds = [
            _sound(gain * np.asarray(signal), fs, caption)
            for caption, signal in signals.items()
        ]
        return self._add("players", sounds=sounds)

    def add_values(self, values):
        """Add names with their values.

        Arguments
        ---------
        values : dict
            Name to value.

        Returns
        -------
        Report
            This report.
        """
        pairs = [(name, _value(value)) for name, value in values.items()]
        return self._add("values", pairs=pairs)

    def add_code(self, text, summary=None):
        """Add text as it is, such as a command or a configuration.

        Arguments
        ---------
        text : str
            Shown with its line breaks.
        summary : str, optional
            If given, the text is folded away behind it.

        Returns
        -------
        Report
            This report.
        """
        return self._add("code", text=text.strip(), summary=summary)

    def add_training(self, records):
        """Add learning curves, if there are any.

        Arguments
        ---------
        records : list of dict
            One an epoch, as ``read_train_log`` gives them.

        Returns
        -------
        Report
            This report.
        """
        if records:
            self.add_section("Training")
            self.add_figures(training_curves(records))
        return self

    def add_run(self, folder):
        """Add how a run was made: command, machine, hyper-parameters.

        Arguments
        ---------
        folder : str or Path
            Output folder with ``command.txt``, ``hyperparams.yaml`` and
            ``env.log``, as far as there are such files.

        Returns
        -------
        Report
            This report.

        Example
        -------
        >>> folder = getfixture("tmp_path")
        >>> _ = (folder / "hyperparams.yaml").write_text("seed: 7")
        >>> path = Report("A run").add_run(folder).write(folder / "a.html")
        >>> "<dt>seed</dt><dd>7</dd>" in path.read_text()
        True
        """
        texts = {}
        for name in ("command.txt", "hyperparams.yaml", "env.log"):
            path = Path(folder) / name
            if path.is_file():
                texts[name] = path.read_text(encoding="utf-8", errors="replace")
        seed = re.search(
            r"^seed: *(\d+)", texts.get("hyperparams.yaml", ""), re.MULTILINE
        )
        gpu = torch.cuda.is_available()
        self.add_section("The run")
        if "command.txt" in texts:
            self.add_text("The command that made this run, and makes it again:")
            self.add_code(texts["command.txt"])
        self.add_values(
            {
                "seed": seed.group(1) if seed else "not recorded",
                "device": torch.cuda.get_device_name() if gpu else "CPU",
                "system": platform.platform(),
                "Python": platform.python_version(),
                "PyTorch": torch.__version__,
                "SpeechBrain": speechbrain.__version__,
            }
        )
        if "hyperparams.yaml" in texts:
            self.add_code(texts["hyperparams.yaml"], "Hyper-parameters")
        if "env.log" in texts:
            self.add_code(texts["env.log"], "Installed packages")
        return self

    def write(self, path):
        """Write the page, complete or not at all.

        Arguments
        ---------
        path : str or Path
            HTML file; its folder is made.

        Returns
        -------
        Path
            The file.
        """
        path = Path(path)
        now = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
        page = _TEMPLATES.get_template("page.html").render(
            title=self.title,
            subtitle=self.subtitle,
            tiles=self._tiles,
            sections=self._sections,
            parts=self._parts,
            written=now,
            version=__version__,
        )
        with atomic_path(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
        return path

    def _add(self, kind, **content):
        self._parts.append({"kind": kind, **content})
        return self


def _cell(value, digits):
    """Text of a cell; None for what was not measured."""
    if value is None or value != value:
        return None
    if isinstance(value, float):
        # Never "-0.00".
        return f"{round(value, digits) + 0.0:.{digits}f}"
    return str(value)


def _value(value):
    """Text of a value whose size is not known."""
    short = isinstance(value, float) and value == value
    return f"{value:.6g}" if short else _cell(value, 0)


def _picture(figure, caption):
    """What the template needs of a picture."""
    caption = caption or ""
    if isinstance(figure, Figure):
        # The template starts the element, to describe it by its caption.
        svg = figure_to_svg(figure).removeprefix("<svg")
        return {"svg": svg, "caption": caption}
    path = Path(figure)
    if path.suffix.lower() not in _PICTURES:
        raise ValueError(
            f"{path}: not a picture for a page; use one of "
            + ", ".join(_PICTURES)
        )
    source = _data_uri(_PICTURES[path.suffix.lower()], path.read_bytes())
    return {"source": source, "caption": caption}


def _sound(samples, fs, caption):
    """What the template needs of a sound [time] or [time, channel]."""
    stream = io.BytesIO()
    soundfile.write(stream, samples, fs, "PCM_16", format="FLAC")
    source = _data_uri("audio/flac", stream.getvalue())
    return {"source": source, "caption": caption or ""}


def _data_uri(kind, content):
    """A file inside the page."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def check_results(metrics, rows):
    """Check that there is something to report.

    Arguments
    ---------
    metrics : dict
        Method to its numbers.
    rows : list of dict
        One an item of the test set.

    Raises
    ------
    ValueError
        If there are no numbers of the network, or no rows.

    Example
    -------
    >>> check_results({"network": {"mae": 1.0}}, [{"id": "a"}])
    """
    if "network" not in metrics or not rows:
        raise ValueError(
            "a report needs metrics of the 'network' and rows of the test "
            f"set, got metrics of {list(metrics)} and {len(rows)} rows"
        )


def interval_text(values, metric, digits=2):
    """The 95 % interval of a metric as text.

    Arguments
    ---------
    values : dict
        With ``<metric>_low`` and ``<metric>_high``.
    metric : str
        Its name.
    digits : int
        Decimal places.

    Returns
    -------
    str or None
        None if there is no interval.

    Example
    -------
    >>> interval_text({"mae": 3.0, "mae_low": 2.5, "mae_high": 3.4}, "mae", 1)
    '2.5 to 3.4'
    """
    if f"{metric}_low" not in values:
        return None
    low, high = values[f"{metric}_low"], values[f"{metric}_high"]
    return f"{low:.{digits}f} to {high:.{digits}f}"


def read_train_log(path):
    """Numbers of each epoch from a ``train_log.txt``.

    Arguments
    ---------
    path : str or Path
        Lines such as ``epoch: 1, lr: 1e-3 - train loss: 3 - valid loss: 2``.

    Returns
    -------
    list of dict
        One an epoch, ``epoch`` an int, the rest float, under the names of
        the log (``"train loss"``). An epoch that was trained twice (a run
        resumed after a kill) counts once, with its latest line; lines
        without an epoch, such as those of a test, are left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    Example
    -------
    >>> path = getfixture("tmp_path") / "train_log.txt"
    >>> _ = path.write_text("epoch: 1, lr: 1e-3 - train loss: 3.0\\n"
    ...                     "Epoch loaded: 1 - test loss: 2.5\\n")
    >>> read_train_log(path)
    [{'epoch': 1, 'lr': 0.001, 'train loss': 3.0}]
    """
    epochs = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        record = {}
        for part in line.replace(" - ", ", ").split(", "):
            name, _, value = part.rpartition(": ")
            try:
                record[name.strip()] = float(value)
            except ValueError:
                continue
        if "epoch" in record:
            record["epoch"] = int(record["epoch"])
            epochs[record["epoch"]] = record
    return [epochs[epoch] for epoch in sorted(epochs)]
