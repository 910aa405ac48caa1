"""Write the table of the shipped models into README.md, of their cards.

python tools/model_table.py
"""

from pathlib import Path

from spatial_brain.dataio.files import write_text
from spatial_brain.inference.pretrained.choice import shipped_cards
from spatial_brain.inference.publishing.page import models_table

README = Path(__file__).resolve().parents[1] / "README.md"
BEGIN, END = "<!-- models: made by tools/model_table.py -->", "<!-- models -->"


def with_table(text):
    """A page with the table between its two marks."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    cards = shipped_cards()
    lines = models_table(cards) if cards else ["None is shipped yet."]
    return before + "\n".join([BEGIN, "", *lines, "", END]) + after


if __name__ == "__main__":
    write_text(README, with_table(README.read_text(encoding="utf-8")))
