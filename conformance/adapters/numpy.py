"""The built-in backend: the loss written in plain numpy, and the smallest example of an adapter.

An adapter is one self-contained file that needs Python 3.8, numpy and its framework, nothing
else: its source is sent into the interpreter under test. It must not import its framework when it
is itself imported, because the suite reads the names below without having the framework.
"""

import os

import numpy

NAME = "numpy"
NEEDS = "any Python 3 with numpy"
MODES = ("eager",)
SURFACES = ("numpy.bce_with_logits",)


def open(device, mode):
    """The adapter on a device, in a mode. Raises ValueError for one that it does not have."""
    if device != "cpu":
        raise ValueError("numpy has no device %r, only cpu" % device)
    if mode not in MODES:
        raise ValueError("numpy has no mode %r, only eager" % mode)
    return Adapter()


class NotOffered(NotImplementedError):
    """What this adapter cannot ask for; no refusal of the framework's."""


class Adapter:
    # A callable of the user's to be called instead of the framework's, if one is set:
    # own_loss(logits, target, weight=…, reduction=…, pos_weight=…), with the keyword arguments
    # that the call has. An adapter without this attribute takes none.
    own_loss = None

    def describe(self):
        """What answers: framework_version, device_name, platform_kind (CPU, GPU or Ascend)."""
        return {
            "framework_version": numpy.__version__,
            "device_name": "CPU",
            "platform_kind": "CPU",
        }

    def prepare(self, call):
        """A call with its arguments as the framework's own tensors.

        call["arguments"] holds (dtype, array) or None by name, "upstream" the same; the arrays are
        this adapter's to change, bfloat16 is uint16. call["layouts"] names those that must lie in
        memory otherwise than contiguously: "strided" (every second element of the last axis),
        "transposed" (axes reversed in memory) or "expanded" (stride 0 along the first axis, whose
        items are equal); an array of rank 0 has no layout. Raises NotImplementedError for what this
        backend cannot be asked (→ unsupported); anything else is an adapter error, and
        nothing here counts as the framework's refusal.
        """
        arguments = {}
        for name, given in dict(call["arguments"], upstream=call["upstream"]).items():
            if given is not None and given[0] == "bfloat16":
                raise NotImplementedError("numpy has no bfloat16")
            layout = call["layouts"].get(name)
            arguments[name] = None if given is None else laid_out(given[1], layout)
        upstream = arguments.pop("upstream")
        return arguments, call["options"], call["want"], upstream

    def run(self, prepared):
        """Yields (quantity, dtype, array) for each quantity in call["want"], in that order.

        The array is in the dtype's own numpy dtype (uint16 for bfloat16), in native byte order.
        Whatever is raised here is the framework's own refusal, but for a NotImplementedError
        subclass that this file defines: that means unsupported.
        """
        arguments, options, want, upstream = prepared
        for quantity in want:
            if self.own_loss is None:
                value = numpy.asarray(evaluate(quantity, arguments, upstream, **options))
            elif quantity == "forward":
                value = numpy.asarray(called(self.own_loss, arguments, options))
            else:
                raise NotOffered(
                    "numpy does not differentiate: a loss of one's own has no " + quantity
                )
            yield quantity, str(value.dtype), value

    def inputs(self, prepared):
        """Yields (name, dtype, array) of each argument as the framework holds it, upstream too.

        The suite looks before a call, to see that the framework holds the bits that were sent, and
        after it, also if it was refused, to see that they are unchanged. An adapter without this
        method is trusted in both.
        """
        arguments, _, _, upstream = prepared
        for name, held in dict(arguments, upstream=upstream).items():
            if held is not None:
                yield name, str(held.dtype), held


def laid_out(array, layout):
    """The same values in another place of memory."""
    if array.ndim == 0 or layout is None:
        return array
    if layout == "strided":
        return numpy.repeat(array, 2, axis=-1)[..., ::2]
    if layout == "expanded":
        return numpy.broadcast_to(array[:1], array.shape)
    return numpy.ascontiguousarray(array.T).T


def called(loss, arguments, options):
    """The user's own loss, given what the call has and nothing else."""
    given = {name: array for name, array in arguments.items() if array is not None}
    return loss(given.pop("logits"), given.pop("target"), **given, **options)


def softplus(z):
    return numpy.maximum(z, 0) + numpy.log1p(numpy.exp(-numpy.abs(z)))


def sigmoid(z):
    small = numpy.exp(-numpy.abs(z))
    return numpy.where(z >= 0, 1, small) / (1 + small)


def evaluate(quantity, arguments, upstream, reduction="mean"):
    """Any quantity of the loss, in the dtype of the logits."""
    x, y = arguments["logits"], arguments["target"]
    if y.dtype.kind in "biu":
        y = y.astype(x.dtype)  # an integer counts as the number that it is
    one = x.dtype.type(1)
    w = one if arguments["weight"] is None else arguments["weight"]
    p = one if arguments["pos_weight"] is None else arguments["pos_weight"]
    if x.shape != y.shape:
        raise ValueError("target has shape %s, logits %s" % (y.shape, x.shape))
    for name, given in (("weight", w), ("pos_weight", p)):
        if numpy.broadcast_shapes(x.shape, numpy.shape(given)) != x.shape:
            raise ValueError("%s does not broadcast to the shape of the logits" % name)
    if reduction not in ("none", "mean", "sum"):
        raise ValueError("reduction is none, mean or sum, not %r" % reduction)
    with numpy.errstate(all="ignore"):
        if quantity == "forward":
            loss = w * (p * y * softplus(-x) + (1 - y) * softplus(x))
            return {"none": lambda v: v, "mean": numpy.mean, "sum": numpy.sum}[reduction](loss)
        arriving = one if upstream is None else upstream
        if reduction == "mean":
            # In float64: the number of elements need not be a float16.
            arriving = (numpy.float64(1) * arriving / x.size).astype(x.dtype)
        slope = derivative(quantity, x, y, w, p) * arriving
    argument = arguments[quantity.split(".")[1]]
    return summed_to(slope, numpy.shape(argument)).astype(argument.dtype)


def derivative(quantity, x, y, w, p):
    """The derivative of each element of the unreduced loss."""
    return {
        "grad.logits": lambda: w * ((1 - y) * sigmoid(x) - p * y * sigmoid(-x)),
        "grad.target": lambda: w * (p * softplus(-x) - softplus(x)),
        "grad.weight": lambda: p * y * softplus(-x) + (1 - y) * softplus(x),
        "grad.pos_weight": lambda: w * y * softplus(-x),
        "hessian.logits": lambda: w * ((1 - y) + p * y) * sigmoid(x) * sigmoid(-x),
    }[quantity]()


def summed_to(array, shape):
    """A gradient of a broadcast argument is the sum over the axes along which it was repeated."""
    extra = array.ndim - len(shape)
    array = array.sum(axis=tuple(range(extra)))
    kept = tuple(i for i, n in enumerate(shape) if n == 1 and array.shape[i] != 1)
    return array.sum(axis=kept, keepdims=True) if kept else array


def reproduction(call, literal):
    """Plain framework code that makes the call; `literal(array)` is an array's values as source."""
    lines = ["import numpy as np", ""]
    for name, given in call["arguments"].items():
        if given is not None:
            made = "np.array(%s, dtype=np.%s)" % (literal(given), given["dtype"])
            lines.append("%s = %s" % (name, layout_source(given, made)))
    if call.get("own_loss"):
        return "\n".join([*lines, *own_source(call)])
    weight = "weight" if call["arguments"]["weight"] is not None else "1"
    positive = "pos_weight" if call["arguments"]["pos_weight"] is not None else "1"
    lines += [
        "softplus = lambda z: np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))",
        "loss = %s * (%s * target * softplus(-logits) + (1 - target) * softplus(logits))"
        % (weight, positive),
        {"none": "print(loss)", "sum": "print(loss.sum())"}.get(
            call["options"].get("reduction"), "print(loss.mean())"
        ),
    ]
    return "\n".join(lines)


def layout_source(array, made):
    """The source `made` of an array, laid out in memory as by `laid_out`."""
    return {
        "strided": "%s.repeat(2, axis=-1)[..., ::2]" % made,
        "transposed": "%s.T.copy().T" % made,
        "expanded": "np.broadcast_to(%s[:1], %r)" % (made, tuple(array["shape"])),
    }.get(array.get("layout") if array["shape"] else None, made)


def own_source(call):
    """The call of the user's loss: call["own_loss"] is an OwnLoss's file and callable, or has the
    statement that makes own_loss."""
    loss = call["own_loss"]
    if "statement" not in loss:
        name = os.path.splitext(os.path.basename(loss["file"]))[0]
        loss = {
            "statement": "from %s import %s as own_loss  # %s"
            % (name, loss["callable"], loss["file"])
        }
    weights = [n for n in ("weight", "pos_weight") if call["arguments"][n] is not None]
    passed = ["%s=%s" % (n, n) for n in weights]
    passed += ["%s=%r" % option for option in call["options"].items()]
    return [
        loss["statement"],
        "print(own_loss(%s))" % ", ".join(["logits", "target", *passed]),
    ]
