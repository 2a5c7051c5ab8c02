"""Runs planted bugs and correct losses on the witnesses, in the interpreter that has torch.

usage: python demonstrate.py RESULTS

Every bug is run on its own witness, every correct loss on all of them. RESULTS is a pickle of
plain Python data, for test_bugs_are_bugs.py: a list of what was asked and what came of it. Arrays
are (dtype, shape, bytes of float64, which holds all of their values exactly).
"""

import importlib
import pickle
import sys

import numpy
import torch

BUGS = (
    "bugs_of_the_formula",
    "bugs_of_the_gradients",
    "bugs_of_reductions",
    "bugs_of_the_contract",
)


def tensor(values, dtype, layout):
    held = torch.tensor(numpy.asarray(values, dtype="float64")).to(getattr(torch, dtype))
    if layout == "strided":
        return torch.stack([held, torch.full_like(held, 7)], -1).flatten(-2)[..., ::2]
    if layout == "transposed":
        axes = tuple(reversed(range(held.dim())))
        return held.permute(axes).contiguous().permute(axes)
    return held[:1].expand(held.shape) if layout == "expanded" else held


def packed(held):
    values = held.detach().double().contiguous().numpy()
    return str(held.dtype).split(".")[1], tuple(values.shape), values.tobytes()


def arguments_of(witness):
    given = {"x": witness.x, "y": witness.y, "w": witness.w, "p": witness.p}
    dtypes = {"y": witness.target_dtype or witness.dtype}
    layouts = dict.fromkeys(witness.lying, witness.layout)
    return {
        name: tensor(values, dtypes.get(name, witness.dtype), layouts.get(name, "contiguous"))
        for name, values in given.items()
        if values is not None
    }


def computed(loss, witness, given):
    named = {"weight": given.get("w"), "pos_weight": given.get("p")}
    if witness.reduction is not None:
        named["reduction"] = witness.reduction
    if witness.want == "forward":
        return loss(given["x"], given["y"], **named)
    leaf = given[{"logits": "x", "target": "y", "weight": "w"}.get(witness.want.split(".")[1], "p")]
    leaves = [leaf, *(given[name] for name in witness.along_with)]
    for each in leaves:
        each.requires_grad_(True)
    try:
        value = loss(given["x"], given["y"], **named)
        arriving = torch.ones_like(value)
        if witness.upstream is not None:
            dtype = str(value.dtype).split(".")[1]
            arriving = tensor(witness.upstream, dtype, witness.upstream_layout)
        second = witness.want == "hessian.logits"
        slope, *_ = torch.autograd.grad(value, leaves, arriving, create_graph=second)
        return torch.autograd.grad(slope.sum(), leaf)[0] if second else slope
    finally:
        for each in leaves:
            each.requires_grad_(False)


def outcome(loss, witness):
    """("value", array), ("raised", words) or ("changed", names)."""
    given = arguments_of(witness)
    before = {name: packed(held) for name, held in given.items()}
    try:
        value = computed(loss, witness, given)
    except Exception as error:
        return before, ("raised", f"{type(error).__name__}: {error}")
    changed = [name for name, held in given.items() if packed(held) != before[name]]
    return before, ("changed", changed) if changed else ("value", packed(value))


def demonstrated(loss, witness):
    torch.manual_seed(0)
    for earlier in witness.before:
        outcome(loss, earlier)
    for _ in range(witness.times):
        given, came = outcome(loss, witness)
    torch.set_grad_enabled(True)
    upstream = witness.upstream
    if upstream is not None:
        upstream = packed(tensor(upstream, witness.dtype, "contiguous"))
    return {"given": given, "reduction": witness.reduction, "want": witness.want,
            "upstream": upstream, "outcome": came}  # fmt: skip


def main(results):
    bugs, right = {}, {}
    for module in BUGS:
        found = vars(importlib.import_module(module))
        bugs.update({name: loss for name, loss in found.items() if hasattr(loss, "shows")})
    found = vars(importlib.import_module("correct"))
    right = {name: loss for name, loss in found.items() if hasattr(loss, "correct")}
    found = []
    for name, bug in bugs.items():
        for loss in (bug, *right.values()):
            said = demonstrated(loss, bug.shows)
            said.update(bug=name, loss=loss.__name__, planted=loss is bug, grade=bug.grade)
            found.append(said)
    with open(results, "wb") as file:
        pickle.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
