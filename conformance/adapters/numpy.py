"""The built-in backend: the loss written in plain numpy, and the smallest example of an adapter.

An adapter is one self-contained file that needs Python 3.8, numpy and its framework, nothing
else: its source is sent into the interpreter under test. It must not import its framework when it
is itself imported, because the suite reads the names below without having the framework.
"""

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


class Adapter:
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
        this adapter's to change, bfloat16 is uint16. Raises NotImplementedError for what this
        backend cannot be asked (→ unsupported); anything else is a fault of the adapter, and
        nothing here counts as the framework's refusal.
        """
        arguments = {}
        for name, given in call["arguments"].items():
            if given is not None and given[0] == "bfloat16":
                raise NotImplementedError("numpy has no bfloat16")
            arguments[name] = None if given is None else given[1]
        upstream = None if call["upstream"] is None else call["upstream"][1]
        return arguments, call["options"], call["want"], upstream

    def run(self, prepared):
        """Yields (quantity, dtype, array) for each quantity in call["want"], in that order.

        The array is in the dtype's own numpy dtype (uint16 for bfloat16), in native byte order.
        Whatever is raised here is the framework's own refusal, but for a NotImplementedError
        subclass that this file defines: that means unsupported.
        """
        arguments, options, want, upstream = prepared
        for quantity in want:
            value = numpy.asarray(evaluate(quantity, arguments, upstream, **options))
            yield quantity, str(value.dtype), value


def softplus(z):
    return numpy.maximum(z, 0) + numpy.log1p(numpy.exp(-numpy.abs(z)))


def sigmoid(z):
    small = numpy.exp(-numpy.abs(z))
    return numpy.where(z >= 0, 1, small) / (1 + small)


def evaluate(quantity, arguments, upstream, reduction="mean"):
    """Any quantity of the loss, in the dtype of the logits."""
    x, y = arguments["logits"], arguments["target"]
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
            arriving = arriving / x.dtype.type(x.size)
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
            lines.append("%s = np.array(%s, dtype=np.%s)" % (name, literal(given), given["dtype"]))
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
