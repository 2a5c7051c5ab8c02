"""`sweep` and `merge` as a user runs them, on the numpy backend."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import bce_conformance
from bce_conformance.adapters import available

SCHEMA = json.loads(
    (Path(bce_conformance.__file__).parent / "report" / "schema.json").read_text(encoding="utf-8")
)
NAME = "numpy.bce_with_logits/sweep"
TAIL = (
    "value = numpy.asarray(evaluate(quantity, arguments, upstream, **options))",
    "value = numpy.asarray(evaluate(quantity, arguments, upstream, **options))\n"
    "                value = numpy.where(numpy.abs(value) < 1e-3, 0, value).astype(value.dtype)",
)
FEWER = ("--quantity", "forward", "--dtype", "float16")


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "bce_conformance", *words]


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), capture_output=True, text=True)


def swept(folder: Path, *words: str, status: int = 0) -> dict[str, Any]:
    done = ran("sweep", "--backend", "numpy", "--report-dir", str(folder), *words)
    assert done.returncode == status, done.stdout + done.stderr
    assert not done.stderr
    (file,) = folder.glob("*.json")
    report = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    assert not list(folder.glob("*.journal"))
    return dict(report)


def lasting(report: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs from run to run."""
    rows = []
    for row in report["accuracy"]:
        sweep = {k: v for k, v in row["sweep"].items()
                 if k not in ("framework_seconds_within", "timed_alone")}  # fmt: skip
        timeless = {k: v for k, v in row.items() if "seconds" not in k and k != "time_ratio"}
        rows.append({**timeless, "sweep": sweep})
    return {**{k: v for k, v in report.items() if k != "times"}, "accuracy": rows}


def spoilt_adapter(folder: Path, *changes: tuple[str, str]) -> Path:
    source = available()["numpy"].source
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    file = folder / "numpy.py"
    file.write_text(source, encoding="utf-8")
    return file


def test_every_logit_is_counted(tmp_path: Path) -> None:
    report = swept(tmp_path, "--dtype", "float16")
    assert report["suite"]["profile"] == "sweep" and not report["interrupted"]
    assert {row["quantity"] for row in report["accuracy"]} == {"forward", "grad.logits"}
    for row in report["accuracy"]:
        sweep = row["sweep"]
        cells = len(sweep["cells"])
        apart = sweep["infinite_logits"]["swept"] + sweep["nan_logits"]["swept"]
        listed = sum(row["not_compared"].values())
        assert row["elements"] + listed + apart == cells * 2**16
        assert apart == cells * (2 + 2 * 1023)
        assert sum(block["elements"] for block in sweep["blocks"]) == row["elements"]
        assert sum(cell["elements"] for cell in sweep["cells"]) == row["elements"]
        counted = [sum(block["histogram"]) for block in sweep["blocks"]]
        assert counted == [block["elements"] for block in sweep["blocks"]]
        assert max(block["max_ulp"] for block in sweep["blocks"]) == row["max_ulp"]
        assert sweep["logits"] == "every"
        assert row["time_ratio"] > 1
    assert sum(len(row["sweep"]["cells"]) for row in report["accuracy"]) >= 2 * 17 * 2
    assert [check["kind"] for check in report["checks"]] == ["sweep"] * 8
    assert report["summary"] == {"conforms": 8}


def test_a_cliff_is_found_and_named(tmp_path: Path) -> None:
    """A loss below 0.001 that is made 0: the tool says from where on, and what is due there."""
    adapter = spoilt_adapter(tmp_path, TAIL)
    report = swept(tmp_path / "r", "--adapter", str(adapter), *FEWER)
    (row,) = [row for row in report["accuracy"] if row["sweep"]["name"] == "target-0"]
    zero = [cliff for cliff in row["sweep"]["cliffs"] if cliff["name"] == "zero"]
    assert [(cliff["from"]["value"], cliff["to"]["value"]) for cliff in zero] == [
        ("-6.91015625", "-9.703125")
    ]
    said = "loss is 0 from x = -6.91015625 down to -9.703125 (all 498 logits)"
    assert zero[0]["sentence"].startswith(said)
    assert zero[0]["logits"] == zero[0]["among"] == 498
    (check,) = [c for c in report["checks"] if c["id"] == f"{NAME}/target-0[float16,none]"]
    assert said in check["summary"]
    assert check["strict"] is False


def test_what_is_beyond_the_stable_grade_deviates_with_its_witness(tmp_path: Path) -> None:
    wrong = TAIL[1].replace("< 1e-3, 0", "> 8, 8")
    adapter = spoilt_adapter(tmp_path, (TAIL[0], wrong))
    report = swept(tmp_path / "r", "--adapter", str(adapter), *FEWER, status=1)
    (check,) = [c for c in report["checks"] if c["id"] == f"{NAME}/target-0[float16,none]"]
    assert check["verdict"] == "deviates"
    assert "loss is beyond the stable grade from x = 8" in check["summary"]
    assert check["witness"]["question"]["call"]["arguments"]["logits"]["values"]
    assert check["witness"]["reproduce"]
    (file,) = (tmp_path / "r").glob("*.json")
    again = ran("replay", str(file), check["id"], "--adapter", str(adapter))
    assert "still deviates" in again.stdout, again.stdout + again.stderr


def test_float64_is_sampled_and_says_so(tmp_path: Path) -> None:
    few = ("--dtype", "float64", "--samples", "4")
    report = swept(tmp_path, *few)
    for row in report["accuracy"]:
        assert row["sweep"]["logits"] == "sampled"
        assert row["elements"] == 4 * 2 * 2047
        assert row["not_compared"]["reference_uncertain"] == 0
    assert "4 logits of each exponent" in report["checks"][0]["summary"]
    assert lasting(swept(tmp_path, *few)) == lasting(report)
    other = swept(tmp_path, *few, "--seed", "1")
    assert [r["at"] for r in other["accuracy"]] != [r["at"] for r in report["accuracy"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of an undisturbed sweep."""
    return swept(tmp_path_factory.mktemp("whole"), *FEWER)


def test_killed_and_continued_it_ends_with_the_same_figures(
    tmp_path: Path, whole: dict[str, Any]
) -> None:
    folder = tmp_path / "killed"
    words = command("sweep", "--backend", "numpy", "--report-dir", str(folder), *FEWER)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, start_new_session=True)
    journal = wait_for_lines(folder, 15)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    done = journal.read_bytes().count(b"\n")
    assert not list(folder.glob("*.json"))
    with journal.open("ab") as file:  # as a kill in the middle of a write leaves it
        file.write(b'{"unit": 15, "figu')
    kept = journal.read_bytes()[:2000]
    assert lasting(swept(folder, *FEWER)) == lasting(whole)
    assert done > 15 and kept


def wait_for_lines(folder: Path, count: int) -> Path:
    while True:
        for journal in folder.glob("*.journal"):
            if journal.read_bytes().count(b"\n") > count:
                return journal
        time.sleep(0.01)


def test_ctrl_c_leaves_a_report_and_the_way_to_go_on(tmp_path: Path) -> None:
    words = command("sweep", "--backend", "numpy", "--report-dir", str(tmp_path), *FEWER)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    wait_for_lines(tmp_path, 10)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on from here" in said
    (file,) = tmp_path.glob("*.json")
    report = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    assert report["interrupted"]
    assert not swept(tmp_path, *FEWER)["interrupted"]


def test_another_sweep_does_not_go_on_from_a_journal(tmp_path: Path) -> None:
    words = command("sweep", "--backend", "numpy", "--report-dir", str(tmp_path), *FEWER)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    wait_for_lines(tmp_path, 5)
    process.kill()
    process.wait()
    done = ran("sweep", "--backend", "numpy", "--report-dir", str(tmp_path), "--quantity",
               "gradient", "--dtype", "float16")  # fmt: skip
    assert "was of another sweep: begun anew" in done.stdout
    (file,) = tmp_path.glob("*.json")
    rows = json.loads(file.read_text(encoding="utf-8"))["accuracy"]
    assert {row["quantity"] for row in rows} == {"grad.logits"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("shards")
    for index in (1, 2):
        done = ran("sweep", "--backend", "numpy", "--report-dir", str(folder), *FEWER,
                   "--shard", f"{index}/2")  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    first, second = sorted(folder.glob("*.json"))
    for file in (first, second):
        jsonschema.validate(json.loads(file.read_text(encoding="utf-8")), SCHEMA)
    return first, second


def merged(folder: Path, *reports: Path | str, status: int = 0) -> str:
    done = ran("merge", *map(str, reports), "-o", str(folder))
    assert done.returncode == status, done.stdout + done.stderr
    return done.stderr


def test_two_shards_come_to_the_whole(
    tmp_path: Path, shards: tuple[Path, ...], whole: dict[str, Any]
) -> None:
    merged(tmp_path / "joined", *reversed(shards))
    (file,) = (tmp_path / "joined").glob("*.json")
    assert file.name == shards[0].name.replace("-1of2", "")
    report = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    assert lasting(report) == lasting(whole)


def test_shards_of_two_machines_are_joined_and_both_are_named(
    tmp_path: Path, shards: tuple[Path, ...]
) -> None:
    """What is of the machine may differ; the release, the device and the mode may not."""
    elsewhere = json.loads(shards[1].read_text(encoding="utf-8"))
    here = dict(elsewhere["backend"])
    elsewhere["backend"].update(device_name="Another CPU", cpu_flags=["sse2"], python="3.12.0")
    moved = tmp_path / shards[1].name
    moved.write_text(json.dumps(elsewhere), encoding="utf-8")
    merged(tmp_path / "joined", moved, shards[0])
    (file,) = (tmp_path / "joined").glob("*.json")
    report = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    backend = report["backend"]
    assert backend["device_name"] == f"{here['device_name']}; Another CPU"
    assert backend["python"] == f"{here['python']}; 3.12.0"
    assert backend["platform"] == here["platform"]
    assert backend["cpu_flags"] == ["sse2"]  # what both have


def test_shards_of_two_releases_are_no_whole(tmp_path: Path, shards: tuple[Path, ...]) -> None:
    other = json.loads(shards[1].read_text(encoding="utf-8"))
    other["backend"]["framework_version"] = "1.0"
    moved = tmp_path / shards[1].name
    moved.write_text(json.dumps(other), encoding="utf-8")
    assert "is missing" in merged(tmp_path / "joined", shards[0], moved, status=2)


def test_jobs_come_to_the_whole(tmp_path: Path, whole: dict[str, Any]) -> None:
    assert lasting(swept(tmp_path / "jobs", *FEWER, "--jobs", "2")) == lasting(whole)


def test_a_missing_shard_is_told(tmp_path: Path, shards: tuple[Path, ...]) -> None:
    said = merged(tmp_path / "joined", shards[0], status=2)
    assert "shard 2/2 of the same run is missing" in said
    assert not (tmp_path / "joined").exists()


def test_a_shard_that_is_there_twice_is_told(tmp_path: Path, shards: tuple[Path, ...]) -> None:
    copy = tmp_path / "copy.json"
    copy.write_text(shards[0].read_text(encoding="utf-8"), encoding="utf-8")
    said = merged(tmp_path / "joined", *shards, copy, status=2)
    assert "shard 1/2 is there twice" in said and str(copy) in said


def test_what_is_no_report_is_told(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text("{}", encoding="utf-8")
    assert "expected a report of schema" in merged(tmp_path / "o", file, status=2)
    assert "no such file" in merged(tmp_path / "o", tmp_path / "y.json", status=2)


def test_shards_of_a_run_are_joined(tmp_path: Path) -> None:
    """The checks of the shards are those of the whole, and so are counts and largest errors."""
    common = ("run", "--backend", "numpy", "--profile", "quick", "--dtype", "float32")
    assert ran(*common, "--report-dir", str(tmp_path / "whole")).returncode == 0
    for index in (1, 2):
        folder = tmp_path / str(index)
        ran(*common, "--shard", f"{index}/2", "--report-dir", str(folder))
    merged(tmp_path / "joined", tmp_path / "1", tmp_path / "2")
    whole, joined = (
        json.loads(next((tmp_path / name).glob("*.json")).read_text(encoding="utf-8"))
        for name in ("whole", "joined")
    )
    jsonschema.validate(joined, SCHEMA)
    generated = {c["id"] for c in joined["checks"]}
    assert {c["id"] for c in whole["checks"]} == generated
    names = ("surface", "quantity", "dtype", "reduction", "elements", "max_ulp")
    one, other = (
        sorted([row[name] for name in names] for row in report["accuracy"])
        for report in (whole, joined)
    )
    assert one == other


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--dtype", "int8"), "--dtype: expected one of float16, bfloat16, float32, float64"),
        (("--surface", "no.such"), "--surface: expected one of numpy.bce_with_logits"),
        (("--tile", "1000"), "--tile: expected a multiple of 1024"),
        (("--shard", "3/2"), "--shard: expected I/N"),
        (("--jobs", "0"), "invalid positive whole number value"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, words: Sequence[str], said: str) -> None:
    done = ran("sweep", "--backend", "numpy", "--report-dir", str(tmp_path), *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_framework_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    done = ran("sweep", "--backend", "torch=/no/such/python", "--dtype", "float16",
               "--report-dir", str(tmp_path))  # fmt: skip
    assert done.returncode == 3
    assert "NOT RUN torch float16" in done.stdout
