"""Package definition of SpatialBrain."""

import re
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
# Folders of experiments to copy from, and what belongs to them.
EXPERIMENTS = ("recipes", "templates")
SUFFIXES = (".py", ".yaml", ".md", ".txt")


def requirements(name):
    """Return the non-comment lines of a requirements file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def description():
    """Return the README without what leads nowhere on a package index."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"^!\[.*\n\n(\*[^*]*\*\n\n)?", "", text, flags=re.M)
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]+\)", r"\1", text)


class BuildWithExperiments(build_py):
    """Puts recipes and templates into the package, as files to copy."""

    def run(self):
        """Build, then add them."""
        super().run()
        if self.editable_mode:
            return
        for kind in EXPERIMENTS:
            for path in sorted((ROOT / kind).rglob("*")):
                place = path.relative_to(ROOT)
                if path.suffix in SUFFIXES and "results" not in place.parts:
                    target = Path(self.build_lib, "spatial_brain", place)
                    self.mkpath(str(target.parent))
                    self.copy_file(str(path), str(target))


setup(
    name="spatial-brain",
    version="0.1.0",
    description="SpeechBrain-style recipes for spatial audio: localise, "
    "detect, separate and measure sound with several microphones",
    long_description=description(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["spatial_brain", "spatial_brain.*"]),
    package_data={
        "spatial_brain": ["pretrained_models/*/*"],
        "spatial_brain.datasets.binaural_wsj0mix": ["published_files.txt"],
        "spatial_brain.reporting": ["page.html"],
    },
    cmdclass={"build_py": BuildWithExperiments},
    python_requires=">=3.10,<3.14",
    install_requires=requirements("requirements.txt"),
    extras_require={"extra": requirements("extra_requirements.txt")},
    entry_points={
        "console_scripts": ["spatial-brain=spatial_brain.cli.main:main"]
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        *(f"Programming Language :: Python :: 3.{n}" for n in range(10, 14)),
        "License :: OSI Approved :: Apache Software License",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
