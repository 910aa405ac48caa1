"""Self-contained HTML reports: tables, pictures and text in one file."""

import base64
import html
import os
from datetime import datetime
from pathlib import Path

from matplotlib.figure import Figure

from spatial_brain import __version__
from spatial_brain.reporting.page import CSS, PAGE
from spatial_brain.reporting.sounds import flac_uri
from spatial_brain.reporting.style import figure_to_svg

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
        path.parent.mkdir(parents=True, exist_ok=True)
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
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            temporary.write_text(page, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
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
