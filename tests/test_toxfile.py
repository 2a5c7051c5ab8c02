"""`tox run -e NAME --force-dep REQUIREMENT` swaps a release, and leaving it out swaps it back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("tox", reason="tox is not installed in this environment")
ROOT = Path(__file__).parent.parent

INI = """\
[tox]
skip_missing_interpreters = false
[testenv:one]
skip_install = true
deps =
    tinydist==1.0
    otherdist
set_env =
    PIP_NO_INDEX = 1
    PIP_EXTRA_INDEX_URL =
    PIP_FIND_LINKS = {tox_root}{/}wheels
commands = python -c "import tinydist, otherdist; print('version', tinydist.version)"
"""


def wheel(folder: Path, name: str, version: str) -> None:
    """The smallest wheel that pip installs."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", "tinydist", "1.0")
    wheel(tmp_path / "wheels", "tinydist", "2.0")
    wheel(tmp_path / "wheels", "otherdist", "1.0")
    (tmp_path / "tox.ini").write_text(INI)
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TOX")}
    return subprocess.run(
        [sys.executable, "-m", "tox", "run", "-e", "one", *arguments],
        cwd=project, env=environment, capture_output=True, text=True,
    )  # fmt: skip


def test_a_release_is_swapped_and_swapped_back(project: Path) -> None:
    shutil.copy(ROOT / "toxfile.py", project)
    assert "version 1.0" in run(project).stdout
    assert "version 2.0" in run(project, "--force-dep", "tinydist==2.0").stdout
    assert "version 1.0" in run(project).stdout


def test_nonsense_is_refused(project: Path) -> None:
    shutil.copy(ROOT / "toxfile.py", project)
    done = run(project, "--force-dep", "tiny dist = 2")
    assert done.returncode == 2
    assert "invalid Requirement value: 'tiny dist = 2'" in done.stderr


def test_tox_alone_does_not_offer_it(project: Path) -> None:
    """If it does one day, toxfile.py can go."""
    assert run(project, "--force-dep", "tinydist==2.0").returncode != 0
