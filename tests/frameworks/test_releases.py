"""The main job on the real releases: what is published is found again, and faults are seen."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bce_conformance.report.read import read

pytestmark = pytest.mark.framework

PUBLISHED = Path(__file__).parent.parent.parent / "reports"
Framework = tuple[str, str]


def run(folder: Path, framework: Framework, *arguments: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    name, python = framework
    command = [sys.executable, "-m", "bce_conformance", "run", "--only", "cases",
               "--backend", f"{name}={python}",
               "--report-dir", str(folder), *arguments]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.returncode in (0, 1), done.stdout + done.stderr
    (file,) = folder.glob("*.json")
    report: dict = json.loads(file.read_text())  # type: ignore[type-arg]
    return done.returncode, report


Sound = tuple[Path, int, dict]  # type: ignore[type-arg]


@pytest.fixture(scope="module")
def sound_runs() -> dict[str, Sound]:
    """One undisturbed run of each framework, made when the first test asks for it."""
    return {}


@pytest.fixture
def sound(
    framework: Framework, sound_runs: dict[str, Sound], tmp_path_factory: pytest.TempPathFactory
) -> Sound:
    """The folder, exit status and report of the framework's undisturbed run."""
    name = framework[0]
    if name not in sound_runs:
        folder = tmp_path_factory.mktemp(name)
        sound_runs[name] = (folder, *run(folder, framework))
    return sound_runs[name]


def verdicts(report: dict) -> dict[str, str]:  # type: ignore[type-arg]
    return {check["id"]: check["verdict"] for check in report["checks"]}


def test_the_published_verdicts_are_found_again(framework: Framework, sound: Sound) -> None:
    _, status, report = sound
    found = verdicts(report)
    assert not report["lost_workers"] and not report["interrupted"] and report["broken"] is None
    assert {"conforms", "characterised"} <= set(found.values())
    assert status == (1 if "deviates" in found.values() else 0)
    version = report["backend"]["framework_version"]
    published = PUBLISHED / f"{framework[0]}-{version}-cpu-eager.json.gz"
    if not published.exists():
        pytest.skip(f"no report of {framework[0]} {version} has been published yet")
    kept = verdicts(read(published))
    assert found == {check: v for check, v in kept.items() if "/documented/" in check}


def test_every_printed_example_conforms(framework: Framework, sound: Sound) -> None:
    """All four releases print what their documents print; a change of that is news."""
    report = sound[2]
    printed = [c for c in report["checks"] if "printed" in c["witness"]["question"]["expect"]]
    assert printed or framework[0] == "torch", "torch's document prints no number"
    assert {c["verdict"] for c in printed} <= {"conforms"}


WEIGHTS = 'if n.endswith("weight") and t is not None}'
FUNCTION = (
    "def function(logits, target, weight, pos_weight):\n"
    "        return surface(logits, target, weight=weight, pos_weight=pos_weight, **options)"
)
YIELD = "yield (quantity, *self.array(value))"
FUNCTIONAL = {
    "torch": "torch.nn.functional.binary_cross_entropy_with_logits",
    "paddle": "paddle.nn.functional.binary_cross_entropy_with_logits",
    "oneflow": "oneflow.nn.functional.binary_cross_entropy_with_logits",
    "mindspore": "mindspore.ops.binary_cross_entropy_with_logits",
}
FAULTS = [
    ("pos_weight ignored", (WEIGHTS, 'if n == "weight" and t is not None}'),
     (FUNCTION, FUNCTION.replace("pos_weight=pos_weight", "pos_weight=None"))),
    ("weight and pos_weight swapped",
     (WEIGHTS, WEIGHTS + '\n        swap = {"weight": "pos_weight", "pos_weight": "weight"}'
      "\n        weights = {swap[n]: t for n, t in weights.items()}"),
     (FUNCTION, FUNCTION.replace("weight=weight, pos_weight=pos_weight",
                                 "weight=pos_weight, pos_weight=weight"))),
    ("one part in ten thousand", (YIELD, "yield (quantity, *self.array(value * 1.0001))"),
     (YIELD, "yield (quantity, *self.array(value * 1.0001))")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("others", "mindspore"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS]
)
def test_a_fault_planted_between_the_framework_and_us_is_seen(
    framework: Framework, sound: Sound, tmp_path: Path, planted: Callable[..., Path],
    others: tuple[str, str], mindspore: tuple[str, str],
) -> None:  # fmt: skip
    name = framework[0]
    right, wrong = mindspore if name == "mindspore" else others
    adapter = planted(name, right=right, wrong=wrong)
    only = ("--surface", FUNCTIONAL[name], "--dtype", "float32")
    status, faulty = run(tmp_path / "faulty", framework, *only, "--adapter", str(adapter))
    assert status == 1
    before, after = verdicts(sound[2]), verdicts(faulty)
    new = {check for check in after if after[check] == "deviates" and before[check] == "conforms"}
    assert any("formula" in check or "weight" in check for check in new), sorted(new)


def test_a_deviation_is_replayed(framework: Framework, sound: Sound) -> None:
    folder, _, report = sound
    (file,) = folder.glob("*.json")
    failing = [check for check, verdict in verdicts(report).items() if verdict == "known"]
    if not failing:
        pytest.skip(f"{framework[0]} has no deviation to replay")
    for check in failing[:3]:
        command = [sys.executable, "-m", "bce_conformance", "replay", str(file), check,
                   "--python", framework[1]]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "still deviates" in done.stdout


def test_reproductions_run_in_a_plain_interpreter(
    framework: Framework, sound: Sound, tmp_path: Path
) -> None:
    """What a report offers to paste prints the value that the report says it got."""
    report = sound[2]
    failing = [c for c in report["checks"] if c["verdict"] in ("deviates", "known")]
    kept = [c for c in report["checks"] if c["verdict"] == "conforms"]
    for check in [*failing[:4], *kept[:: max(len(kept) // 6, 1)]]:
        paste = check["witness"]["reproduce"]
        done = subprocess.run(
            [framework[1], "-c", paste], capture_output=True, text=True, cwd=tmp_path
        )
        got = check["witness"]["got"]
        if "raised" in got:
            assert done.returncode != 0, paste
            assert got["raised"]["type"] in done.stderr
        else:
            assert done.returncode == 0, paste + done.stderr
            values = got["returned"]["values"].split()
            assert all(value in done.stdout for value in values[:3]), (values, done.stdout)
