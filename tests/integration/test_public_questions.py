"""The table of public questions is well formed, and asks the command line."""

import importlib.util
import shlex
from pathlib import Path

import pytest

from spatial_brain.cli.main import COMMANDS


@pytest.fixture(scope="module")
def script():
    """The benchmark as a module."""
    path = Path(__file__).parents[2] / "benchmarks/public_questions.py"
    spec = importlib.util.spec_from_file_location("public_questions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_well_formed(script):
    threads = [one.thread for one in script.QUESTIONS]
    assert len(set(threads)) == len(threads) >= 20
    for one in script.QUESTIONS:
        command = shlex.split(one.command)
        assert command[0] in COMMANDS
        assert one.azimuths is not None or one.words
        # What is typed names every file that is made, and no other.
        named = {word for word in command if word.endswith((".wav", ".json"))}
        made = {*one.recordings, *one.files} - {"room.yaml"}
        assert named == made, one.thread
    page = Path(__file__).parents[2] / "docs/questions.md"
    text = page.read_text(encoding="utf-8")
    assert [one for one in threads if f"({one})" not in text] == []


@pytest.mark.parametrize("thread", ["mic_array/issues/49", "odas/issues/82"])
def test_a_question_is_answered(script, thread):
    (question,) = (one for one in script.QUESTIONS if thread in one.thread)
    output = script.ask(question)
    assert script.is_right(question, output), output
    # A verdict that cannot be wrong says nothing.
    assert not script.is_right(question, "no source found")
