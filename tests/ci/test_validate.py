"""`.ci/validate.py`: the comparison decides, and everything that stops it has a status and a line.

The numpy backend stands in for a framework: it is run, written down, compared for real.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
FILE = ROOT / ".ci" / "validate.py"
Json = dict[str, Any]


@pytest.fixture
def validate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ci_validate", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ci_validate"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of the numpy backend."""
    folder = tmp_path_factory.mktemp("published")
    command = [sys.executable, "-m", "bce_conformance", "run", "--backend", "numpy",
               "--profile", "quick", "--report-dir", str(folder)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    (report,) = folder.glob("*.json")
    return report


@pytest.fixture
def validated(
    validate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Validates numpy against a report: the exit status, and the page of the job."""
    monkeypatch.setitem(validate.ENVIRONMENTS, "numpy", "numpy")
    page = tmp_path / "job.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))

    def run(report: Path, *options: str) -> tuple[int, str]:
        status = validate.main(["numpy==2", "--published", str(report), "--profile", "quick",
                                "--python", sys.executable, "--report-dir", str(tmp_path),
                                *options])  # fmt: skip
        return status, page.read_text() if page.exists() else ""

    return run


def doctored(published: Path, folder: Path, change: Callable[[Json], None]) -> Path:
    report = json.loads(published.read_text(encoding="utf-8"))
    change(report)
    file = folder / "numpy-0.1-cpu-eager.json.old"
    file.write_text(json.dumps(report), encoding="utf-8")
    return file


def test_the_same_release_has_nothing_new(
    published: Path, validated: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    status, page = validated(published)
    assert status == 0
    assert page.startswith(f"# numpy==2: nothing new, compared with {published.name}\n")
    assert "Nothing changed." in page and "| `numpy.bce_with_logits` |" in page
    names = {file.name for file in tmp_path.iterdir()}
    assert {"junit.xml", "summary.md", "changes.md", "page.md"} <= names
    assert page == (tmp_path / "page.md").read_text()


def test_a_deviation_that_the_published_report_lacks_is_new(
    published: Path, validated: Callable[..., tuple[int, str]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The run itself deviates: numpy's softplus is spoilt in a copy of the adapter."""
    import bce_conformance.adapters

    source = Path(bce_conformance.adapters.__file__).parent / "numpy.py"
    right = "numpy.log1p(numpy.exp(-numpy.abs(z)))"
    text = source.read_text(encoding="utf-8")
    assert text.count(right) == 1
    spoilt = tmp_path / "spoilt.py"
    spoilt.write_text(text.replace(right, "numpy.exp(-numpy.abs(z))"), encoding="utf-8")
    wrapper = tmp_path / "bce_conformance_spoilt.py"
    wrapper.write_text(
        "import sys\nfrom bce_conformance.cli import main\n"
        f"more = ['--adapter', {str(spoilt)!r}] if sys.argv[1] == 'run' else []\n"
        "sys.exit(main([*sys.argv[1:], *more]))\n"
    )
    real = subprocess.run

    def with_the_spoilt_adapter(command: list[str], **options: Any) -> Any:
        if command[1:3] == ["-m", "bce_conformance"]:
            command = [command[0], str(wrapper), *command[3:]]
        return real(command, **options)

    monkeypatch.setattr(subprocess, "run", with_the_spoilt_adapter)
    status, page = validated(published)
    assert status == 1
    assert page.startswith("# numpy==2: fails")
    assert "- something is NEW or has DRIFTED for the worse" in page
    assert "### NEW" in page


def test_what_the_published_report_has_too_is_not_new(
    validate: ModuleType, published: Path, tmp_path: Path
) -> None:
    """The release before deviated, this one does not: FIXED, and nothing fails."""

    def deviated(report: Json) -> None:
        report["checks"][0]["verdict"] = "deviates"

    page = tmp_path / "changes.md"
    old = doctored(published, tmp_path, deviated)
    assert validate.compared(old, published, page, None) is False
    assert "### FIXED (1)" in page.read_text()


def test_errors_that_grew(validate: ModuleType, published: Path, tmp_path: Path) -> None:
    def was_better(report: Json) -> None:
        row = max(report["accuracy"], key=lambda row: float(row["max_ulp"]))
        row["max_ulp"] /= 3

    old, page = doctored(published, tmp_path, was_better), tmp_path / "changes.md"
    assert validate.compared(old, published, page, None) is True
    assert validate.compared(old, published, page, "4") is False
    with pytest.raises(validate.Stopped) as stopped:
        validate.compared(old, published, page, "no")
    assert stopped.value.status == 2


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["torch=2.13"], 2, "expected a requirement such as torch==2.14.0rc1, not 'torch=2.13'"),
        (["jax==0.5"], 2, "expected one of torch, paddlepaddle, oneflow, mindspore, not 'jax'"),
        (["torch==2.13.0", "--published", "none.json"], 2, "--published: none.json: no such file"),
        (["torch==2.13.0", "--python", "/no/python"], 3, "bce-conformance run exited with 3"),
    ],
)
def test_what_stops_it(
    validate: ModuleType, capfd: pytest.CaptureFixture[str], tmp_path: Path, words: list[str],
    status: int, said: str,
) -> None:  # fmt: skip
    assert validate.main([*words, "--report-dir", str(tmp_path)]) == status
    last = capfd.readouterr().err.splitlines()[-1]
    assert last.startswith("validate: ") and said in last


def test_a_job_that_stops_says_so_on_its_page(
    validate: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "job.md"))
    assert validate.main(["jax"]) == 2
    assert (tmp_path / "job.md").read_text().startswith("# Not validated\n\n    expected one of")


def test_distributions_and_their_published_reports(validate: ModuleType) -> None:
    for distribution, backend in validate.ENVIRONMENTS.items():
        assert validate.parsed(f"{distribution.upper()}>=1").name == distribution.upper()
        report = validate.last_published(ROOT / "reports", backend)
        assert validate.read(report)["backend"]["adapter"] == backend


def test_the_newest_published_release_counts(validate: ModuleType, tmp_path: Path) -> None:
    names = ["torch-2.9.1", "torch-2.13.0+cpu", "torch-2.14.0rc1", "torch-unknown"]
    for name in names:
        (tmp_path / f"{name}-cpu-eager.json").touch()
    (tmp_path / "torch-3.0-cpu-compiled.json").touch()
    found = validate.last_published(tmp_path, "torch")
    assert found.name == "torch-2.14.0rc1-cpu-eager.json"
    with pytest.raises(validate.Stopped, match="no published report of paddle"):
        validate.last_published(tmp_path, "paddle")


@pytest.mark.parametrize(
    ("text", "pinned"),
    [("torch==2.13.0", True), ("torch", False), ("torch>=2.13", False), ("torch==2.*", False),
     ("torch @ https://example.org/torch-2.13.0-cp311-none-any.whl", True)],
)  # fmt: skip
def test_what_names_one_release(validate: ModuleType, text: str, pinned: bool) -> None:
    assert validate.pinned(validate.parsed(text)) is pinned


def test_another_behaviour_under_a_known_deviation(validate: ModuleType) -> None:
    """diff sees a deviation before and after; that it is another one, the entry's range says."""
    report = validate.read(validate.last_published(ROOT / "reports", "paddle"))
    assert validate.deviates_otherwise(report) == ()
    known = next(c for c in report["checks"] if c["verdict"] == "known")
    known["verdict"] = "deviates"
    assert validate.deviates_otherwise(report) == (known["id"],)
    report["backend"]["framework_version"] = "2.6.2"  # no entry is about this release
    assert validate.deviates_otherwise(report) == ()


def test_a_run_that_did_not_finish(validate: ModuleType) -> None:
    report = validate.read(validate.last_published(ROOT / "reports", "paddle"))
    assert validate.unfinished(report, report) == ()
    lost = {**report, "lost_workers": [{"after": "it", "cause": "signal 11"}]}
    broken = {**report, "broken": "it is gone"}
    assert validate.unfinished(report, lost) == ("workers died between calls: 1",)
    assert validate.unfinished(report, broken) == ("the run did not finish: it is gone",)


def test_a_page_too_long_is_cut_by_whole_lines(validate: ModuleType) -> None:
    page = "".join(f"line {i} ×\n" for i in range(1000))
    assert validate.shortened(page, 100_000) == page
    short = validate.shortened(page, 2000)
    assert len(short.encode()) <= 2000
    lines = short.splitlines()
    assert lines[:-2] == page.splitlines()[: len(lines) - 2]
    assert lines[-1].startswith(f"… and {1000 - (len(lines) - 2)} more lines: page.md")
