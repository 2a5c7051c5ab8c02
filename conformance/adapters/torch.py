"""PyTorch: the module and the function, eager and through torch.compile.

Read off torch 2.13.0 on a CPU. What shaped this file:

- Every quantity is a call of its own. torch refuses the *forward* call as soon as weight or
  pos_weight requires a gradient ("is not differentiable with respect to argument 'weight'"), so
  a tensor requires one only while its own gradient is computed.
- torch.compile runs with fullgraph=True and with reaching the recompile limit made an error: by
  default both a graph break and the ninth recompilation of a function go on in eager mode,
  without a word. The price is that what the Python code of the loss raises (a ValueError for
  sizes that differ) arrives wrapped in an exception of torch._dynamo.
"""

import functools
import io

import numpy

NAME = "torch"
NEEDS = "Python 3.10 to 3.14"
MODES = ("eager", "compiled")
SURFACES = (
    "torch.nn.BCEWithLogitsLoss",
    "torch.nn.functional.binary_cross_entropy_with_logits",
)
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "bool")


def open(device, mode):
    """The adapter on cpu, cuda or cuda:N. Raises ValueError where there is no such device."""
    if mode not in MODES:
        raise ValueError("torch has no mode %r, only %s" % (mode, " and ".join(MODES)))
    return Adapter(usable(device), mode)


def usable(device):
    """`device`, if this build of torch and this machine have it."""
    import torch

    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError("torch is driven on cpu, cuda or cuda:N here, not on %r" % device)
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "no CUDA device for torch %s: the build has %s, the machine %d usable GPUs"
            % (torch.__version__, torch.version.cuda or "no CUDA", torch.cuda.device_count())
        )
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError("%s: there are %d GPUs" % (device, torch.cuda.device_count()))
    return device


class Adapter:
    def __init__(self, device, mode):
        import torch

        self.torch, self.device, self.mode = torch, device, mode
        self.compiled_for = None  # what torch.compile's caches were filled for

    def describe(self):
        gpu = self.device.startswith("cuda")
        return {
            "framework_version": self.torch.__version__,
            "device_name": self.torch.cuda.get_device_name(self.device) if gpu else cpu_name(),
            "platform_kind": "GPU" if gpu else "CPU",
        }

    def prepare(self, call):
        arguments = {
            name: None if given is None else self.tensor(name, *given)
            for name, given in call["arguments"].items()
        }
        upstream = call["upstream"] and self.tensor("upstream", *call["upstream"])
        if self.mode == "compiled":
            self.forget_other_graphs(call)
        return call["surface"], arguments, call["options"], call["want"], upstream

    def run(self, prepared):
        surface, arguments, options, want, upstream = prepared
        for quantity in want:
            loss = functools.partial(self.loss, surface, arguments, options)
            value = self.evaluate(quantity, loss, arguments, upstream)
            if self.device.startswith("cuda"):
                self.torch.cuda.synchronize(self.device)  # a kernel's error belongs to its call
            yield (quantity, *self.array(value))

    def evaluate(self, quantity, loss, arguments, upstream):
        """The loss, or one derivative of it, from a call that computes nothing else."""
        if quantity == "forward":
            return loss()
        name = quantity.split(".")[1]
        leaf = arguments[name].requires_grad_(True)
        try:
            second = quantity == "hessian.logits"
            slope = self.gradient(name, loss(), leaf, upstream, create_graph=second)
            # The loss is elementwise: differentiating the sum gives the diagonal.
            return self.gradient(name, slope.sum(), leaf, None) if second else slope
        finally:
            leaf.requires_grad_(False)

    def gradient(self, name, output, leaf, upstream, create_graph=False):
        arriving = self.torch.ones_like(output) if upstream is None else upstream
        (slope,) = self.torch.autograd.grad(output, leaf, arriving, create_graph=create_graph)
        if slope is None:
            raise RuntimeError("no gradient: torch returned None for %s" % name)
        return slope

    def loss(self, surface, arguments, options):
        logits, target = arguments["logits"], arguments["target"]
        weights = {n: t for n, t in arguments.items() if n.endswith("weight") and t is not None}
        if surface == "torch.nn.BCEWithLogitsLoss":
            module = self.torch.nn.BCEWithLogitsLoss(**weights, **options)
            return self.compiled(module)(logits, target)
        function = self.torch.nn.functional.binary_cross_entropy_with_logits
        return self.compiled(function)(logits, target, **weights, **options)

    def compiled(self, function):
        if self.mode == "eager":
            return function
        return self.torch.compile(function, fullgraph=True, dynamic=False)

    def forget_other_graphs(self, call):
        """Drops what was compiled for calls of another signature.

        Within one signature only the quantities differ, at most six graphs, below the limit of
        eight; calls that differ in shape or dtype would exceed it.
        """
        shapes = {n: a and (a[0], a[1].shape) for n, a in call["arguments"].items()}
        signature = (call["surface"], repr(sorted(shapes.items())), repr(call["options"]))
        if signature != self.compiled_for:
            self.torch._dynamo.reset()
            self.torch._dynamo.config.fail_on_recompile_limit_hit = True
            self.compiled_for = signature

    def tensor(self, name, dtype, array):
        """A tensor of exactly these bits; bfloat16 arrives as uint16."""
        if dtype not in DTYPES:
            raise NotImplementedError("torch has no %s tensor here" % dtype)
        # torch.tensor copies, so that a call which changes its inputs changes only its own.
        if dtype == "bfloat16":
            tensor = self.torch.tensor(array.view("int16")).view(self.torch.bfloat16)
        else:
            tensor = self.torch.tensor(array)
        tensor = tensor.to(self.device)
        check_bits(name, (dtype, array), self.array(tensor))
        return tensor

    def array(self, tensor):
        """(dtype, array) of a tensor; bfloat16 leaves as uint16."""
        dtype = str(tensor.dtype).split(".")[1]
        tensor = tensor.detach().cpu()
        if dtype == "bfloat16":
            return dtype, tensor.contiguous().view(self.torch.int16).numpy().view("uint16")
        return dtype, tensor.numpy()


def check_bits(name, given, held):
    """Raises RuntimeError unless the framework holds what it was given; NaN payloads may differ."""
    if held[0] != given[0] or held[1].shape != given[1].shape:
        raise RuntimeError(
            "%s: %s%s became %s%s" % (name, given[0], given[1].shape, held[0], held[1].shape)
        )
    word = "u%d" % given[1].itemsize
    differ = numpy.atleast_1d(given[1]).view(word) != numpy.atleast_1d(held[1]).view(word)
    if (differ & ~(is_nan(*given) & is_nan(*held))).any():
        raise RuntimeError("%s: the framework does not hold the bits that it was given" % name)


def is_nan(dtype, array):
    array = numpy.atleast_1d(array)
    return (array & 0x7FFF) > 0x7F80 if dtype == "bfloat16" else array != array


def cpu_name():
    """The processor's model name, where Linux tells it."""
    try:
        with io.open("/proc/cpuinfo") as lines:
            named = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        named = []
    return named[0] if named else "CPU"


def reproduction(call, literal):
    """Plain torch code that makes the call; `literal(array)` is an array's values as source."""
    device = call.get("device", "cpu")
    names = [name for name, given in call["arguments"].items() if given is not None]
    lines = ["import torch", ""]
    lines += [tensor_source(name, call["arguments"][name], literal, device) for name in names]
    if call["upstream"] is not None:
        lines.append(tensor_source("upstream", call["upstream"], literal, device))
    passed = ["%s=%s" % (name, name) for name in names if name.endswith("weight")]
    passed += ["%s=%r" % option for option in call["options"].items()]
    criterion, called_with = call["surface"], ["logits", "target", *passed]
    if call["surface"] == "torch.nn.BCEWithLogitsLoss":
        criterion, called_with = "%s(%s)" % (criterion, ", ".join(passed)), ["logits", "target"]
    if call.get("mode") == "compiled":
        criterion = "torch.compile(%s, fullgraph=True, dynamic=False)" % criterion
    loss = "criterion(%s)" % ", ".join(called_with)
    lines += ["", "criterion = " + criterion]
    for quantity in call["want"]:
        lines += quantity_source(quantity, loss, call["upstream"] is not None)
    return "\n".join(lines) + "\n"


def tensor_source(name, array, literal, device):
    placed = "dtype=torch.%s" % array["dtype"]
    placed += "" if device == "cpu" else ", device=%r" % device
    if 0 in array["shape"]:
        return "%s = torch.zeros(%r, %s)" % (name, tuple(array["shape"]), placed)
    return "%s = torch.tensor(%s, %s)" % (name, literal(array), placed)


def quantity_source(quantity, loss, has_upstream):
    if quantity == "forward":
        return ["loss = " + loss, 'print("forward", loss.dtype, loss.tolist())']
    leaf = quantity.split(".")[1]
    arriving = "upstream" if has_upstream else "torch.ones_like(loss)"
    second = quantity == "hessian.logits"
    graph = ", create_graph=True" if second else ""
    lines = [
        "%s.requires_grad_(True)" % leaf,
        "loss = " + loss,
        "(slope,) = torch.autograd.grad(loss, %s, %s%s)" % (leaf, arriving, graph),
    ]
    if second:
        lines.append("(slope,) = torch.autograd.grad(slope.sum(), %s)" % leaf)
    lines.append('print("%s", slope.dtype, slope.tolist())' % quantity)
    return [*lines, "%s.requires_grad_(False)" % leaf]
