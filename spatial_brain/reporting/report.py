"""Self-contained HTML reports: tables, pictures and text in one file."""

import base64
import html
import io
from datetime import datetime
from pathlib import Path

import soundfile
import torch
from matplotlib.figure import Figure

from spatial_brain import __version__
from spatial_brain.atomic import atomic_path
from spatial_brain.dataio.audio import resample_audio
from spatial_brain.reporting.plots import figure_to_svg

CSS = """
:root {
  color-scheme: light dark;
  --paper: #f5f6f8; --card: #fdfdfe; --ink: #1f2430; --faint: #69707d;
  --rule: #d8dce4; --accent: #2f78c4; --tint: #eaf2fb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12151b; --card: #1a1e26; --ink: #e8eaef; --faint: #9aa2b0;
    --rule: #343b47; --accent: #6aa8ea; --tint: #1d2b3c;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto,
    "Helvetica Neue", "Noto Sans", sans-serif;
}
main, header { max-width: 1080px; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
.overline {
  font-size: .78rem; font-weight: 600; letter-spacing: .09em;
  text-transform: uppercase; color: var(--accent); margin: 0;
}
h1 {
  font-size: clamp(1.7rem, 5vw, 2.5rem); line-height: 1.15;
  letter-spacing: -.02em; margin: .35rem 0 .5rem; text-wrap: balance;
}
h2 {
  font-size: 1.3rem; letter-spacing: -.01em; margin: 3rem 0 .75rem;
  scroll-margin-top: 1rem;
}
p { margin: 0 0 1rem; max-width: 44rem; text-wrap: pretty; }
.subtitle, figcaption, caption, .note, dt { color: var(--faint); }
nav { display: flex; gap: .5rem; overflow-x: auto; margin: 1.5rem 0 0;
  padding-bottom: .5rem; }
nav a {
  white-space: nowrap; font-size: .85rem; color: var(--ink);
  text-decoration: none; padding: .25rem .8rem; border-radius: 99px;
  border: 1px solid var(--rule); background: var(--card);
}
nav a:hover, nav a:focus-visible { border-color: var(--accent); }
.tiles { display: grid; gap: .9rem; margin: 1.75rem 0 0;
  grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); }
.tile, .card {
  background: var(--card); border: 1px solid var(--rule);
  border-radius: 12px;
}
.tile { padding: .9rem 1.1rem; }
.tile b { display: block; font-size: 1.75rem; line-height: 1.2;
  letter-spacing: -.02em; font-variant-numeric: tabular-nums; }
.tile span { font-size: .85rem; color: var(--faint); display: block;
  line-height: 1.35; }
.tile.main { background: var(--tint); border-color: var(--accent); }
.tile.main b { color: var(--accent); }
.card { padding: 1rem 1.1rem; margin: 0 0 1rem; }
.grid { display: grid; gap: 1rem; margin-bottom: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); }
.grid.small { grid-template-columns:
  repeat(auto-fit, minmax(min(100%, 300px), 1fr)); }
.grid .card { margin: 0; }
figure { margin: 0; }
figure svg, figure img { display: block; width: 100%; height: auto; }
figure audio { display: block; width: 100%; }
.wide { max-width: 820px; }
.single { max-width: 560px; }
figcaption { font-size: .88rem; margin-top: .6rem; line-height: 1.45; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem;
  font-variant-numeric: tabular-nums; }
caption { caption-side: bottom; text-align: left; font-size: .88rem;
  padding-top: .7rem; line-height: 1.45; }
th, td { padding: .5rem .65rem; text-align: right; white-space: nowrap; }
th { font-weight: 600; color: var(--faint); font-size: .82rem;
  white-space: normal; line-height: 1.3;
  border-bottom: 1px solid var(--rule); vertical-align: bottom; }
td.text, th.text { text-align: left; }
tbody tr + tr td { border-top: 1px solid var(--rule); }
tr.main td { font-weight: 650; background: var(--tint); }
dl { display: grid; grid-template-columns: max-content 1fr;
  gap: .3rem 1.2rem; margin: 0; font-size: .92rem; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { margin: 0; overflow-x: auto; font-size: .85rem; line-height: 1.5;
  font-family: ui-monospace, "SF Mono", "Cascadia Code", Menlo, monospace; }
summary { cursor: pointer; font-weight: 600; }
details pre { margin-top: .8rem; max-height: 30rem; overflow: auto; }
footer { max-width: 1080px; margin: 3rem auto 0; font-size: .85rem;
  padding: 1rem 1.25rem 3rem; color: var(--faint); }
@media (max-width: 480px) {
  th, td { padding: .45rem .55rem; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin-bottom: .5rem; } header { padding-top: 1.75rem; }
}
@media print { nav { display: none; } .card { break-inside: avoid; } }
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{css}</style>
</head>
<body>
<header>
<p class="overline">SpatialBrain</p>
<h1>{title}</h1>
{subtitle}
{tiles}
{navigation}
</header>
<main>
{content}
</main>
<footer>{footer}</footer>
</body>
</html>
"""


MAX_RATE = 16000
PEAK = 0.7


def flac_uri(waveform, fs):
    """A sound as a data URI that browsers play.

    Arguments
    ---------
    waveform : torch.Tensor
        Shape [time], of at least one sample; scaled to a peak of 0.7.
    fs : int
        Sampling rate, Hz; reduced to 16 kHz if it is above.

    Returns
    -------
    str
        16-bit FLAC, half the size of a WAV file.

    Raises
    ------
    ValueError
        If the waveform is empty or has channels.

    Example
    -------
    >>> flac_uri(torch.randn(8000), 16000)[:26]
    'data:audio/flac;base64,Zkx'
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
    stream = io.BytesIO()
    soundfile.write(stream, waveform.numpy(), fs, "PCM_16", format="FLAC")
    content = base64.b64encode(stream.getvalue()).decode()
    return f"data:audio/flac;base64,{content}"


_PICTURES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".svg": "image/svg+xml",
}


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
        self._tiles = []
        self._sections = []
        self._parts = []

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
        kind = "tile main" if main else "tile"
        self._tiles.append(
            f'<div class="{kind}"><b>{_escape(value)}</b>'
            f"<span>{_escape(label)}</span></div>"
        )
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
        name = f"section-{len(self._sections) + 1}"
        self._sections.append((name, title))
        return self._add(f'<h2 id="{name}">{_escape(title)}</h2>')

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
        for paragraph in text.split("\n\n"):
            self._add(f"<p>{_escape(paragraph)}</p>")
        return self

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
        classes = [' class="text"' if text else "" for text in textual]
        if isinstance(digits, int):
            digits = [digits] * len(header)
        head = "".join(
            f"<th{kind}>{_escape(name)}</th>"
            for kind, name in zip(classes, header, strict=True)
        )
        body = []
        for index, row in enumerate(rows):
            cells = "".join(
                f"<td{kind}>{_cell(value, places)}</td>"
                for kind, value, places in zip(
                    classes, row, digits, strict=True
                )
            )
            main = ' class="main"' if index == emphasis else ""
            body.append(f"<tr{main}>{cells}</tr>")
        below = f"<caption>{_escape(caption)}</caption>" if caption else ""
        return self._add(
            f'<div class="card scroll"><table>{below}<thead><tr>{head}</tr>'
            f"</thead><tbody>{''.join(body)}</tbody></table></div>"
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
        return self._add(
            f'<div class="{size}">{_picture(figure, caption)}</div>'
        )

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
        cards = "".join(
            _picture(figure, caption)
            for figure, caption in zip(figures, captions, strict=True)
        )
        small = all(
            isinstance(figure, Figure) and figure.get_figwidth() < 5
            for figure in figures
        )
        kind = "grid small" if small else "grid"
        return self._add(f'<div class="{kind}">{cards}</div>')

    def add_audio(self, waveform, fs, caption=None):
        """Add a player; the sound is inside the page, as 16-bit FLAC.

        Arguments
        ---------
        waveform : torch.Tensor
            Shape [time]; scaled so that its peak is 0.7.
        fs : int
            Sampling rate, Hz; above 16 kHz it is reduced to that.
        caption : str, optional
            Sentence below.

        Returns
        -------
        Report
            This report.
        """
        below = _below(caption)
        return self._add(
            f'<figure class="card single"><audio controls preload="metadata" '
            f'aria-label="{_escape(caption or "")}" '
            f'src="{flac_uri(waveform, fs)}"></audio>{below}</figure>'
        )

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
        pairs = "".join(
            f"<dt>{_escape(name)}</dt><dd>{_value(value)}</dd>"
            for name, value in values.items()
        )
        return self._add(f'<div class="card"><dl>{pairs}</dl></div>')

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
        code = f"<pre>{_escape(text.strip())}</pre>"
        if summary:
            code = (
                f"<details><summary>{_escape(summary)}</summary>{code}"
                "</details>"
            )
        return self._add(f'<div class="card">{code}</div>')

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
        links = "".join(
            f'<a href="#{name}">{_escape(title)}</a>'
            for name, title in self._sections
        )
        page = PAGE.format(
            title=_escape(self.title),
            css=CSS,
            subtitle=(
                f'<p class="subtitle">{_escape(self.subtitle)}</p>'
                if self.subtitle
                else ""
            ),
            tiles=(
                f'<div class="tiles">{"".join(self._tiles)}</div>'
                if self._tiles
                else ""
            ),
            navigation=f"<nav>{links}</nav>" if links else "",
            content="\n".join(self._parts),
            footer=f"Written {now} by SpatialBrain {__version__}",
        )
        with atomic_path(path) as temporary:
            temporary.write_text(page, encoding="utf-8")
        return path

    def _add(self, part):
        self._parts.append(part)
        return self


def _escape(text):
    """Text as HTML."""
    return html.escape(str(text))


def _cell(value, digits):
    """HTML of a cell or value."""
    if value is None or value != value:
        return '<span class="note">not measured</span>'
    if isinstance(value, float):
        # Never "-0.00".
        return f"{round(value, digits) + 0.0:.{digits}f}"
    return _escape(value)


def _value(value):
    """HTML of a value whose size is not known."""
    short = isinstance(value, float) and value == value
    return f"{value:.6g}" if short else _cell(value, 0)


def _picture(figure, caption):
    """HTML of one picture in a frame."""
    if isinstance(figure, Figure):
        image = figure_to_svg(figure)
        # Readers who cannot see it hear the caption.
        image = image.replace(
            "<svg", f'<svg role="img" aria-label="{_escape(caption or "")}"', 1
        )
    else:
        path = Path(figure)
        if path.suffix.lower() not in _PICTURES:
            raise ValueError(
                f"{path}: not a picture for a page; use one of "
                + ", ".join(_PICTURES)
            )
        content = base64.b64encode(path.read_bytes()).decode()
        kind = _PICTURES[path.suffix.lower()]
        image = (
            f'<img src="data:{kind};base64,{content}" '
            f'alt="{_escape(caption or "")}">'
        )
    return f'<figure class="card">{image}{_below(caption)}</figure>'


def _below(caption):
    """HTML of a caption, if there is one."""
    return f"<figcaption>{_escape(caption)}</figcaption>" if caption else ""


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
