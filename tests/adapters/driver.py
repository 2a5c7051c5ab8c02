"""Runs an adapter in the interpreter that has its framework, for test_in_frameworks.py.

usage: python driver.py PLAN RESULTS

PLAN is a JSON file: the path of the suite's worker module, adapter sources by name, and tasks.
RESULTS gets one JSON line a task as soon as it is done. Bytes travel as hexadecimal. Nothing but
numpy, the framework and the standard library of Python 3.8 is needed.
"""

import contextlib
import importlib.util
import io
import json
import os
import runpy
import sys
import tempfile
from typing import Any

import numpy

Wire = dict[str, Any]


def unpacked(array: Wire | None) -> Wire | None:
    return None if array is None else dict(array, data=bytes.fromhex(array["data"]))


def packed(array: Wire) -> Wire:
    return dict(array, data=array["data"].hex())


class Driver:
    def __init__(self, plan: Wire) -> None:
        spec = importlib.util.spec_from_file_location("bce_worker", plan["worker"])
        assert spec is not None and spec.loader is not None
        self.worker: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.worker)
        self.modules = {n: self.worker.load(s, n) for n, s in plan["sources"].items()}
        self.adapters: dict[Any, Any] = {}

    def adapter(self, task: Wire) -> Any:
        key = (task["source"], task["mode"])
        if key not in self.adapters:
            self.adapters[key] = self.modules[task["source"]].open("cpu", task["mode"])
        return self.adapters[key]

    def call(self, task: Wire) -> Wire:
        """The quantities as they come back over the suite's own worker, and what stopped them."""
        wire = dict(task["wire"])
        wire["arguments"] = {n: unpacked(a) for n, a in wire["arguments"].items()}
        wire["upstream"] = unpacked(wire["upstream"])
        result: Wire = {"values": {}, "failure": None}

        def send(kind: str, *fields: Any) -> None:
            if kind == "value":
                result["values"][fields[0]] = packed(fields[1])
            elif kind == "done":
                result["failure"] = fields[0]

        self.worker.perform(self.adapter(task), wire, send, (Exception,))
        return result

    def round_trip(self, task: Wire) -> Wire:
        adapter = self.adapter(task)
        dtype, array = self.worker.decoded(unpacked(task["array"]))
        held = adapter.array(adapter.tensor("it", dtype, array))
        return {"array": packed(self.worker.encoded(*held))}

    def evaluate(self, task: Wire) -> Wire:
        return {"value": eval(task["expression"], {"adapter": self.adapter(task), "os": os})}

    def execute(self, task: Wire) -> Wire:
        """What a reproduction prints. From a file: mindspore.jit reads the source back."""
        printed = io.StringIO()
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "reproduction.py")
            with open(file, "w") as out:
                out.write(task["code"])
            with contextlib.redirect_stdout(printed):
                runpy.run_path(file)
        return {"printed": printed.getvalue()}

    def pasted(self, task: Wire) -> Wire:
        """The bits of an argument as a reproduction makes it."""
        lines = task["code"].splitlines()
        made = [i for i, line in enumerate(lines) if line.startswith(task["name"] + " =")]
        names: Wire = {}
        exec("\n".join(lines[: made[0] + 1]), names)
        held = self.adapter(task).array(names[task["name"]])
        return {"array": packed(self.worker.encoded(*held))}


def main(plan_file: str, results_file: str) -> None:
    with open(plan_file) as file:
        plan = json.load(file)
    driver = Driver(plan)
    numpy.seterr(all="ignore")
    with open(results_file, "w") as results:
        for task in plan["tasks"]:
            try:
                result = getattr(driver, task["do"])(task)
            except Exception as error:
                result = {"error": type(error).__name__ + ": " + str(error)}
            results.write(json.dumps(dict(result, id=task["id"])) + "\n")
            results.flush()
    # At once: teardown at exit is where frameworks hang.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
