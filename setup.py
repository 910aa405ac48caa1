"""Package definition of SpatialBrain."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def requirements(name):
    """Return the non-comment lines of a requirements file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    name="spatial-brain",
    version="0.1.0",
    description="SpeechBrain-style recipes for spatial audio: localise, "
    "detect, separate and measure sound with several microphones",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["spatial_brain", "spatial_brain.*"]),
    package_data={
        "spatial_brain.datasets.binaural_wsj0mix": ["published_files.txt"],
        "spatial_brain.reporting": ["page.html"],
    },
    python_requires=">=3.10",
    install_requires=requirements("requirements.txt"),
    entry_points={
        "console_scripts": ["spatial-brain=spatial_brain.cli.main:main"]
    },
    classifiers=[
        "Programming Language :: Python :: 3",
        "License :: OSI Approved :: Apache Software License",
        "Topic :: Multimedia :: Sound/Audio :: Analysis",
    ],
)
