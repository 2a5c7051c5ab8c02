"""A loss of a test's own, held to the formula in this process: the fixture, and the marker."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any

import pytest

from ..adapters import AdapterFile, module_of
from ..generate.plan import COUNTS, Plan
from ..model.call import Backend
from ..model.case_family import KEYWORDS, Signature
from ..model.check import Check
from ..model.dtypes import FLOATS
from ..running.engine import (
    BackendFinished,
    BackendNotRun,
    BackendStarted,
    ChecksReady,
    Job,
    Measured,
    run_job,
)
from ..session import Closure, LocalSession
from .backends import GRADE, SEED, adapters
from .failure import failure_text, where
from .report import keep

Loss = Callable[..., Any]
Json = dict[str, Any]
REDUCTIONS = ("none", "mean", "sum")


class Wrong(Exception):
    """What is wrong with the arguments of check(), in one line."""


@dataclass(frozen=True)
class Request:
    """The arguments of check(), found to be right."""

    loss: Loss
    adapter: AdapterFile
    dtypes: tuple[str, ...]
    must_accept: tuple[str, ...]
    device: str
    profile: str
    signature: Signature


@dataclass(frozen=True)
class Checker:
    """The fixture `bce_conformance`."""

    node: pytest.Item

    def check(
        self,
        loss: Loss,
        *,
        framework: str,
        dtypes: Sequence[str] | None = None,
        device: str = "cpu",
        arguments: Sequence[str] = KEYWORDS,
        reduction: str | None = None,
        profile: str | None = None,
    ) -> None:
        """Holds loss(input, target, *, weight, pos_weight, reduction) to the formula.

        framework: whose tensors it takes: torch, paddle, oneflow, mindspore or numpy.
        dtypes: those asked about, in which the loss must accept what the formula allows; all
        floating ones if None, of which float32 is expected.
        arguments: the keywords that the loss takes, () for loss(input, target).
        reduction: how a loss that takes no reduction reduces: mean (if None), sum or none.
        profile: quick, standard or full; that of --bce-profile if None.

        It runs in this process: nothing contains a crash or a hang. Raises AssertionError.
        """
        __tracebackhide__ = True
        profile = profile or self.node.config.option.bce_profile
        request: Request | None = None
        try:
            request = _request(loss, framework, dtypes, device, arguments, reduction, profile)
        except Wrong as error:
            wrong = str(error)
        if request is None:
            pytest.fail(f"bce_conformance: {wrong}", pytrace=False)
        # A warning about an infinity is no refusal, not even where warnings are errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = self._tested(request)
        if text:
            raise AssertionError(text)

    def _tested(self, request: Request) -> str:
        """What is to be said of the loss; nothing if it conforms."""
        name = _name(request.loss)
        job, checks, rows = _job(request, name), list[Check](), list[Json]()
        backend: Backend | None = None
        with closing(run_job(job)) as events:
            for event in events:
                if isinstance(event, BackendNotRun):
                    return f"{name}: {event.reason}"
                if isinstance(event, BackendStarted | BackendFinished):
                    backend = event.backend
                elif isinstance(event, ChecksReady):
                    checks += event.checks
                elif isinstance(event, Measured):
                    rows += event.rows
        assert backend is not None
        keep(self.node, backend, checks, rows, of=self.node.nodeid)
        if any(check.failing for check in checks):
            return failure_text(name, backend, checks)
        return _nothing_judged(name, backend, checks)


def _nothing_judged(name: str, backend: Backend, checks: Sequence[Check]) -> str:
    """A loss that was never judged has not been found to be right."""
    if any(check.kind == "property" and check.verdict == "conforms" for check in checks):
        return ""
    reasons = [c.summary for c in checks if c.verdict in ("refused", "unsupported")]
    said = f", the first time: {reasons[0]}" if reasons else ""
    return f"{name} on {where(backend)}: nothing was computed that could be judged{said}"


def _request(
    loss: Loss, framework: str, dtypes: Sequence[str] | None, device: str,
    arguments: Sequence[str], reduction: str | None, profile: str,
) -> Request:  # fmt: skip
    """Raises Wrong."""
    if not callable(loss):
        raise Wrong(f"expected a callable loss(input, target, …), not {_type(loss)}")
    adapter = adapters().get(framework)
    if adapter is None:
        raise Wrong(f"framework: expected one of {', '.join(adapters())}, not {framework!r}")
    if isinstance(dtypes, str) or isinstance(arguments, str):
        raise Wrong("dtypes and arguments: expected lists of words")
    tested = tuple(FLOATS) if dtypes is None else tuple(dtypes)
    _require(tested, FLOATS, "dtypes")
    _require(arguments, KEYWORDS, "arguments")
    _require([profile], COUNTS, "profile")
    if not tested:
        raise Wrong("dtypes: expected at least one")
    if reduction is not None:
        _require([reduction], REDUCTIONS, "reduction")
        if "reduction" in arguments:
            others = tuple(name for name in arguments if name != "reduction")
            raise Wrong("reduction: expected only for a loss that takes no reduction; if that is "
                        f"meant, say arguments={others!r}")  # fmt: skip
    _require_signature(loss, arguments)
    must_accept = ("float32",) if dtypes is None else tested
    signature = Signature(tuple(arguments), reduction or "mean")
    return Request(loss, adapter, tested, must_accept, device, profile, signature)


def _require(words: Sequence[object], known: Sequence[str] | Any, what: str) -> None:
    for word in words:
        if word not in known:
            raise Wrong(f"{what}: expected some of {', '.join(known)}, not {word!r}")


def _require_signature(loss: Loss, arguments: Sequence[str]) -> None:
    """Raises Wrong where the loss does not take the arguments, as far as Python tells."""
    try:
        signature = inspect.signature(loss)
    except (TypeError, ValueError):
        return
    if _takes(signature, arguments):
        return
    taken = tuple(name for name in arguments if _takes(signature, [name]))
    if not _takes(signature, taken):
        raise Wrong(f"expected a loss(input, target, …), not {_name(loss)}{signature}")
    missing = ", ".join(name for name in arguments if name not in taken)
    raise Wrong(f"{_name(loss)} takes no {missing}; if that is meant, say arguments={taken!r}")


def _takes(signature: inspect.Signature, arguments: Sequence[str]) -> bool:
    try:
        signature.bind(None, None, **dict.fromkeys(arguments))
    except TypeError:
        return False
    return True


def _job(request: Request, name: str) -> Job:
    adapter, signature = request.adapter, request.signature
    closure = Closure(_called(request.loss, signature), name)

    def open() -> LocalSession:
        return LocalSession(module_of(adapter.file), device=request.device, losses=(closure,))

    return Job(
        adapter=replace(adapter, reproduction=_reproduction(adapter, request)),
        python=sys.executable,
        open=open,
        cases=(),
        grade=GRADE,
        plan=Plan(SEED, request.profile, request.dtypes),
        must_accept=request.must_accept,
        signature=signature,
    )


def _called(loss: Loss, signature: Signature) -> Loss:
    """The loss, given no reduction where it takes none."""
    if "reduction" in signature.arguments:
        return loss

    def without_reduction(input: Any, target: Any, reduction: str = "", **weights: Any) -> Any:
        return loss(input, target, **weights)

    return without_reduction


def _reproduction(adapter: AdapterFile, request: Request) -> Callable[..., str]:
    """The adapter's paste, which imports the loss, or says where it stands."""
    own = {"statement": _statement(request.loss)}

    def reproduction(call: Json, literal: Callable[[Json], str]) -> str:
        options = call["options"] if "reduction" in request.signature.arguments else {}
        return adapter.reproduction({**call, "options": options, "own_loss": own}, literal)

    return reproduction


def _statement(loss: Loss) -> str:
    module, name = getattr(loss, "__module__", None), getattr(loss, "__qualname__", "")
    place = _place(loss)
    if name.isidentifier() and getattr(sys.modules.get(module or ""), name, None) is loss:
        return f"from {module} import {name} as own_loss{place}"
    return f"own_loss = ...  # put here: {_name(loss)}{place.replace('  #', ',')}"


def _place(loss: Loss) -> str:
    try:
        code = inspect.unwrap(loss).__code__
    except (AttributeError, ValueError):
        return ""
    return f"  # {code.co_filename}:{code.co_firstlineno}"


def _name(loss: Loss) -> str:
    """What reports call the loss."""
    if isinstance(loss, partial):
        return f"partial({_name(loss.func)})"
    named = getattr(loss, "__qualname__", None) or _type(loss)
    return str(named).replace("/", "-")


def _type(value: object) -> str:
    return type(value).__name__


def marked(function: pytest.Function, marker: pytest.Mark) -> Generator[None, object, object]:
    """Runs a test that returns a loss, and holds the loss to the formula."""
    returned: list[Any] = []
    test = function.obj

    @wraps(test)
    def test_that_returns(*given: Any, **named: Any) -> None:
        __tracebackhide__ = True
        returned.append(test(*given, **named))

    function.obj = test_that_returns
    try:
        result = yield
    finally:
        function.obj = test
    (loss,) = returned
    if not callable(loss):
        pytest.fail(f"bce_conformance: {function.name} is marked, so it must return a loss, "
                    f"and returned {loss!r}", pytrace=False)  # fmt: skip
    _check_marked(function, marker, loss)
    return result


def _check_marked(function: pytest.Function, marker: pytest.Mark, loss: Loss) -> None:
    try:
        inspect.signature(Checker.check).bind(None, loss, *marker.args, **marker.kwargs)
        Checker(function).check(loss, **marker.kwargs)
        return
    except TypeError as error:
        said = f"bce_conformance: the marker: {error}"
    except AssertionError as error:
        said = str(error)
    pytest.fail(said, pytrace=False)
