"""The command line: arguments in, exit status out. Each command lives beside what it uses.

Exit status: 0 conforms; 1 deviations, crashes or hangs; 2 wrong usage or an invalid file;
3 a backend could not be started, nothing was judged, or a report could not be written; 130
interrupted (with a valid report of what had finished); 70 an error of this program.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType

from . import __version__
from .adapters import AdapterError
from .casefile import CaseFileError
from .commands import UsageError
from .judging.tolerance import GRADES
from .report.diff import DRIFT
from .report.html.visible import visible
from .report.read import ReportError
from .report.write import CannotWriteError
from .sweep import plan

DEBUG = "BCE_CONFORMANCE_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; no traceback reaches the user."""
    signal.signal(signal.SIGTERM, _interrupt)
    options = parser().parse_args(argv)
    try:
        return _command(options.command)(options)
    except (CaseFileError, UsageError, AdapterError, ReportError) as error:
        print(visible(str(error)), file=sys.stderr)
        return 2
    except CannotWriteError as error:
        print(f"bce-conformance: {visible(str(error))}", file=sys.stderr)
        return 3
    except MemoryError:
        print("bce-conformance: not enough memory", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        line = f"internal error: {type(error).__name__}: {error}"
        print(f"bce-conformance: {line} (set {DEBUG}=1 to see where)", file=sys.stderr)
        return 70


def _command(name: str) -> Callable[[argparse.Namespace], int]:
    """A command, imported when it is called for: what it uses is not needed by the others."""
    command: Callable[[argparse.Namespace], int] = import_module(
        f".commands.{name}", __package__
    ).command
    return command


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="bce-conformance", description=__doc__.split("\n")[0])
    top.description = (
        "Does this framework release compute binary cross entropy with logits as its "
        "documentation and the mathematics say?"
    )
    top.add_argument("--version", action="version", version=f"bce-conformance {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_run(commands.add_parser("run", help="test one or more backends"))
    _add_sweep(commands.add_parser("sweep", help="test every logit of a dtype"))
    _add_diff(commands.add_parser("diff", help="what changed between two reports or folders"))
    _add_merge(commands.add_parser("merge", help="shards and backends into one folder"))
    _add_report(commands.add_parser("report", help="reports as a table, Markdown or HTML"))
    _add_replay(commands.add_parser("replay", help="run the witness of a finding or check again"))
    _add_cases(commands.add_parser("cases", help="validate and list case files"))
    _add_backends(commands.add_parser("backends", help="which adapters and frameworks there are"))
    return top


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _natural(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _counting(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_counting.__name__ = "positive whole number"
_positive.__name__ = "positive number"
_natural.__name__ = "natural number"


def _add_run(sub: argparse.ArgumentParser) -> None:
    _add_backend(sub, required=True)
    _add_testing_and_judging(sub)
    sub.add_argument("--surface", action="append", default=[], metavar="NAME",
                     help="only this surface; may be repeated")  # fmt: skip
    sub.add_argument("--dtype", action="append", default=[], metavar="D",
                     help="only tests with logits of this dtype; may be repeated")  # fmt: skip
    sub.add_argument("--profile", choices=("quick", "standard", "full"), default="standard",
                     help="how much to test; every profile has the documented claims")  # fmt: skip
    sub.add_argument("--seed", type=_natural, default=0, help="of all that is generated")
    sub.add_argument("--loss", action="append", default=[], metavar="FILE.py:CALLABLE",
                     help="your own loss(input, target, *, weight, reduction, pos_weight) in the "
                     "place of the framework's; may be repeated")  # fmt: skip
    sub.add_argument("--only", choices=("cases", "generated"),
                     help="only the case files, or only what is generated")  # fmt: skip
    sub.add_argument("--cases", type=Path, metavar="DIR",
                     help="case files in place of the shipped ones")  # fmt: skip
    sub.add_argument("--shard", metavar="I/N", help="only every Nth test, from the Ith")
    sub.add_argument("--timeout", type=_positive, default=60.0, metavar="SECONDS",
                     help="for one call (default 60)")  # fmt: skip
    sub.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML too")
    sub.add_argument("-v", "--verbose", action="store_true", help="show every check")
    sub.set_defaults(command="run")


def _add_backend(sub: argparse.ArgumentParser, required: bool) -> None:
    sub.add_argument("--backend", action="append", default=[], required=required,
                     metavar="ADAPTER[=PYTHON]",
                     help="numpy, torch, paddle, …, with the interpreter that has it; may be "
                     "repeated")  # fmt: skip
    sub.add_argument("--python", metavar="PATH",
                     help="interpreter of backends that name none (default: this one)")  # fmt: skip
    sub.add_argument("--adapter", type=Path, metavar="FILE.py", help="an adapter of your own")


def _add_testing_and_judging(sub: argparse.ArgumentParser) -> None:
    """What a run and a sweep have in common."""
    sub.add_argument("--device", default="cpu", help="cpu (default), cuda, cuda:0, …")
    sub.add_argument("--mode", default="eager", help="eager (default) or compiled")
    sub.add_argument("--grade", choices=GRADES, default="stable",
                     help="which tolerance fails a value")  # fmt: skip
    sub.add_argument("--known", type=Path, metavar="FILE",
                     help="known deviations in place of the shipped ones; an empty file knows "
                     "nothing")  # fmt: skip
    sub.add_argument("--report-dir", type=Path, default=Path("bce-reports"), metavar="DIR",
                     help="where the reports go (default bce-reports)")  # fmt: skip


def _add_sweep(sub: argparse.ArgumentParser) -> None:
    _add_backend(sub, required=True)
    _add_testing_and_judging(sub)
    sub.add_argument("--dtype", action="append", default=[], metavar="D",
                     help="float16, bfloat16, float32 (these three if none is named) or float64, "
                     "of which each exponent is sampled; may be repeated")  # fmt: skip
    sub.add_argument("--quantity", choices=("forward", "gradient", "all"), default="all")
    sub.add_argument("--surface", action="append", default=[], metavar="NAME",
                     help="may be repeated (default: all for 16 bits, else the first)")  # fmt: skip
    sub.add_argument("--jobs", type=_counting, default=1, metavar="N",
                     help="processes, each with a worker and a judge")  # fmt: skip
    sub.add_argument("--shard", metavar="I/N", help="only every Nth block, from the Ith")
    sub.add_argument("--seed", type=_natural, default=0, help="of what is sampled in float64")
    sub.add_argument("--samples", type=_counting, default=plan.SAMPLES, metavar="N",
                     help="logits of each sign and exponent in float64")  # fmt: skip
    sub.add_argument("--tile", type=_counting, default=1 << 16, metavar="N",
                     help="logits a call in float32 (default 65536)")  # fmt: skip
    sub.add_argument("--timed", type=_natural, default=1, metavar="N",
                     help="of every Nth lot of 8 blocks of float32 the framework is also timed "
                     "alone, which takes that long again (default 1; 0: none)")  # fmt: skip
    sub.add_argument("--threads", action="store_true",
                     help="let the framework use its threads (default: one)")  # fmt: skip
    sub.add_argument("--timeout", type=_positive, default=60.0, metavar="SECONDS",
                     help="for one tile, or call (default 60)")  # fmt: skip
    sub.set_defaults(command="sweep")


def _add_diff(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("old", type=Path, metavar="OLD", help="a report, or a folder of them")
    sub.add_argument("new", type=Path, metavar="NEW", help="the same of a later release")
    sub.add_argument("--drift", type=_positive, default=DRIFT, metavar="FACTOR",
                     help="by which the largest error of a row may grow (default 2)")  # fmt: skip
    sub.add_argument("--json", type=Path, metavar="FILE", help="write the changes as JSON too")
    sub.add_argument("--markdown", type=Path, metavar="FILE", help="write them as Markdown too")
    sub.add_argument("-v", "--verbose", action="store_true", help="show every check too")
    sub.set_defaults(command="diff")


def _add_merge(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("reports", nargs="+", type=Path, metavar="REPORT",
                     help="reports (JSON), or folders of them")  # fmt: skip
    sub.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    sub.add_argument("--adapter", type=Path, metavar="FILE.py", help="an adapter of your own")
    sub.add_argument("--compress", action="store_true", help="write .json.gz, as for publishing")
    sub.set_defaults(command="merge")


def _add_report(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("reports", type=Path, metavar="DIR", help="a folder of reports, or one report")
    sub.add_argument("--html", type=Path, metavar="FILE", help="write one page that loads nothing")
    sub.add_argument("--markdown", type=Path, metavar="FILE", help="write Markdown")
    sub.add_argument("--overview", type=Path, metavar="FILE",
                     help="write a front page of the folder: short tables, and links")  # fmt: skip
    sub.add_argument("--since", type=Path, metavar="OLD",
                     help="reports of the release before, to show what changed")  # fmt: skip
    sub.set_defaults(command="report")


def _add_replay(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("report", type=Path, metavar="REPORT", help="a report (JSON)")
    sub.add_argument("check", metavar="ID", help="the id of one of its findings or checks")
    sub.add_argument("--python", metavar="PATH", help="interpreter (default: this one)")
    sub.add_argument("--adapter", type=Path, metavar="FILE.py", help="an adapter of your own")
    sub.add_argument("--loss", metavar="FILE.py:CALLABLE",
                     help="the loss that the report is about")  # fmt: skip
    sub.add_argument("--timeout", type=_positive, default=60.0, metavar="SECONDS")
    sub.set_defaults(command="replay")


def _add_cases(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("paths", nargs="*", type=Path, metavar="PATH",
                     help="case files or folders (default: the shipped ones)")  # fmt: skip
    sub.add_argument("--adapter", type=Path, metavar="FILE.py", help="an adapter of your own")
    sub.set_defaults(command="cases")


def _add_backends(sub: argparse.ArgumentParser) -> None:
    _add_backend(sub, required=False)
    sub.set_defaults(command="backends")
