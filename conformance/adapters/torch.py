"""PyTorch: the module and the function, eager and through torch.compile.

Read off torch 2.13.0 on a CPU. What shaped this file:

- Every quantity is a call of its own. torch refuses the *forward* call as soon as weight or
  pos_weight requires a gradient ("is not differentiable with respect to argument 'weight'"), so
  a tensor requires one only while its own gradient is computed.
- torch.compile runs with fullgraph=True and with reaching the recompile limit made an error: by
  default both a graph break and the ninth recompilation of a function go on in eager mode,
  without a word. The limit is raised instead, so that calls of many signatures may take turns.
  The price is that what the Python code of the loss raises (a ValueError for
  sizes that differ) arrives wrapped in an exception of torch._dynamo.
"""

import functools
import io
import os

NAME = "torch"
NEEDS = "Python 3.10 to 3.14"
MODES = ("eager", "compiled")
SURFACES = (
    "torch.nn.BCEWithLogitsLoss",
    "torch.nn.functional.binary_cross_entropy_with_logits",
)
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "bool")
MOST_GRAPHS = 4096


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
    own_loss = None  # a callable of the user's, instead of the framework's

    def __init__(self, device, mode):
        import torch

        self.torch, self.device, self.mode = torch, device, mode
        if mode == "compiled":
            limits = torch._dynamo.config
            limits.fail_on_recompile_limit_hit = True
            limits.recompile_limit = limits.accumulated_recompile_limit = MOST_GRAPHS

    def describe(self):
        gpu = self.device.startswith("cuda")
        return {
            "framework_version": self.torch.__version__,
            "device_name": self.torch.cuda.get_device_name(self.device) if gpu else cpu_name(),
            "platform_kind": "GPU" if gpu else "CPU",
        }

    def prepare(self, call):
        given = dict(call["arguments"], upstream=call["upstream"])
        arguments = {
            name: array and self.tensor(name, *array, call["layouts"].get(name))
            for name, array in given.items()
        }
        upstream = arguments.pop("upstream")
        along_with = call.get("beside", ())
        return call["surface"], arguments, call["options"], call["want"], upstream, along_with

    def run(self, prepared):
        surface, arguments, options, want, upstream, along_with = prepared
        for quantity in want:
            loss = functools.partial(self.loss, surface, arguments, options)
            value = self.evaluate(quantity, loss, arguments, upstream, along_with)
            if self.device.startswith("cuda"):
                self.torch.cuda.synchronize(self.device)  # a kernel's error belongs to its call
            yield (quantity, *self.array(value))

    def inputs(self, prepared):
        """The arguments as they are held now: (name, dtype, array) of each."""
        _, arguments, _, _, upstream, _ = prepared
        for name, tensor in dict(arguments, upstream=upstream).items():
            if tensor is not None:
                yield (name, *self.array(tensor))

    def evaluate(self, quantity, loss, arguments, upstream, along_with):
        """The loss, or one derivative of it, with those of the arguments beside and no other."""
        if quantity == "forward":
            return loss()
        names = [quantity.split(".")[1], *along_with]
        leaves = [arguments[name].requires_grad_(True) for name in names]
        try:
            second = quantity == "hessian.logits"
            slope = self.gradient(names, loss(), leaves, upstream, create_graph=second)
            # The loss is elementwise: differentiating the sum gives the diagonal.
            return self.gradient(names, slope.sum(), leaves[:1], None) if second else slope
        finally:
            for leaf in leaves:
                leaf.requires_grad_(False)

    def gradient(self, names, output, leaves, upstream, create_graph=False):
        """That of the first leaf; those of the others are computed with it."""
        arriving = self.torch.ones_like(output) if upstream is None else upstream
        slope, *_ = self.torch.autograd.grad(output, leaves, arriving, create_graph=create_graph)
        if slope is None:
            raise RuntimeError("no gradient: torch returned None for %s" % names[0])
        return slope

    def loss(self, surface, arguments, options):
        logits, target = arguments["logits"], arguments["target"]
        weights = {n: t for n, t in arguments.items() if n.endswith("weight") and t is not None}
        if self.own_loss is not None:
            return self.compiled(self.own_loss)(logits, target, **weights, **options)
        if surface == "torch.nn.BCEWithLogitsLoss":
            module = self.torch.nn.BCEWithLogitsLoss(**weights, **options)
            return self.compiled(module)(logits, target)
        function = self.torch.nn.functional.binary_cross_entropy_with_logits
        return self.compiled(function)(logits, target, **weights, **options)

    def compiled(self, function):
        if self.mode == "eager":
            return function
        return self.torch.compile(function, fullgraph=True, dynamic=False)

    def tensor(self, name, dtype, array, layout=None):
        """A tensor of exactly these bits; bfloat16 arrives as uint16."""
        if dtype not in DTYPES:
            raise NotImplementedError("torch has no %s tensor here" % dtype)
        # The array is this call's alone, so its memory can be the tensor's.
        if dtype == "bfloat16":
            tensor = self.torch.from_numpy(array.view("int16")).view(self.torch.bfloat16)
        else:
            tensor = self.torch.from_numpy(array)
        if self.device != "cpu":
            tensor = tensor.to(self.device)
        if layout is None or tensor.dim() == 0:
            return tensor
        tensor = self.laid_out(tensor, layout)
        check_layout(name, layout, tensor.shape, tensor.stride())
        return tensor

    def laid_out(self, tensor, layout):
        """The same values, strided, transposed or expanded in memory."""
        if layout == "strided":
            return self.torch.stack([tensor, tensor], -1)[..., 0]
        if layout == "expanded":
            return tensor[:1].expand(tensor.shape)
        backwards = tuple(reversed(range(tensor.dim())))
        return tensor.permute(backwards).contiguous().permute(backwards)

    def array(self, tensor):
        """(dtype, array) of a tensor; bfloat16 leaves as uint16."""
        dtype = str(tensor.dtype).split(".")[1]
        if dtype == "bfloat16":
            bits = tensor.detach().contiguous().view(self.torch.int16)
            return dtype, bits.numpy(force=True).view("uint16")
        return dtype, tensor.numpy(force=True)


def strides(shape, layout):
    """The elements between neighbours along each axis, innermost last, in a layout."""
    axes = range(len(shape)) if layout == "transposed" else reversed(range(len(shape)))
    steps, step = [0] * len(shape), 2 if layout == "strided" else 1
    for axis in axes:
        steps[axis], step = step, step * shape[axis]
    return [0, *steps[1:]] if layout == "expanded" else steps


def check_layout(name, layout, shape, held):
    """Raises RuntimeError where a tensor does not lie in memory as it is meant to."""
    expected = strides(shape, layout)
    # Along an axis of one element, and in an array of none, nothing is stepped over.
    stepped = [axis for axis, n in enumerate(shape) if n > 1 and 0 not in shape]
    if any(expected[axis] != held[axis] for axis in stepped):
        raise RuntimeError("%s: a %s tensor with strides %s" % (name, layout, tuple(held)))


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
    if call.get("own_loss"):
        criterion = "own_loss"
        lines.insert(1, own_source(call["own_loss"]))
    elif call["surface"] == "torch.nn.BCEWithLogitsLoss":
        criterion, called_with = "%s(%s)" % (criterion, ", ".join(passed)), ["logits", "target"]
    if call.get("mode") == "compiled":
        criterion = "torch.compile(%s, fullgraph=True, dynamic=False)" % criterion
    loss = "criterion(%s)" % ", ".join(called_with)
    lines += ["", "criterion = " + criterion]
    for quantity in call["want"]:
        has_upstream = call["upstream"] is not None
        lines += quantity_source(quantity, loss, has_upstream, call.get("beside", ()))
    return "\n".join(lines) + "\n"


def own_source(loss):
    """The import of the user's loss; under its own name it could hide a name of the paste."""
    if "statement" in loss:
        return loss["statement"]
    file = os.path.basename(loss["file"])
    names = (os.path.splitext(file)[0], loss["callable"], loss["file"])
    return "from %s import %s as own_loss  # %s" % names


def tensor_source(name, array, literal, device):
    """A line that makes the tensor, and where it has a layout another that lays it out."""
    placed = "dtype=torch.%s" % array["dtype"]
    placed += "" if device == "cpu" else ", device=%r" % device
    made = "torch.tensor(%s, %s)" % (literal(array), placed)
    if 0 in array["shape"]:
        made = "torch.zeros(%r, %s)" % (tuple(array["shape"]), placed)
    return "%s = %s%s" % (name, made, layout_source(name, array))


def layout_source(name, array):
    layout, rank = array.get("layout"), len(array["shape"])
    if layout in (None, "cycled") or rank == 0:
        return ""
    backwards = ", ".join(map(str, reversed(range(rank))))
    laid_out = {
        "strided": "torch.stack([{0}, {0}], -1)[..., 0]".format(name),
        "expanded": "%s[:1].expand(%s.shape)" % (name, name),
        "transposed": "{0}.permute({1}).contiguous().permute({1})".format(name, backwards),
    }
    return "\n%s = %s  # %s in memory" % (name, laid_out[layout], layout)


def listed(names):
    return "[%s]" % ", ".join(names)


def quantity_source(quantity, loss, has_upstream, along_with):
    if quantity == "forward":
        return ["loss = " + loss, 'print("forward", loss.dtype, loss.tolist())']
    leaf = quantity.split(".")[1]
    arriving = "upstream" if has_upstream else "torch.ones_like(loss)"
    second = quantity == "hessian.logits"
    graph = ", create_graph=True" if second else ""
    leaves = [leaf, *along_with]
    lines = ["%s.requires_grad_(True)" % name for name in leaves]
    lines.append("loss = " + loss)
    taken, slopes = (leaf, "(slope,)") if not along_with else (listed(leaves), "slope, *others")
    given = (slopes, taken, arriving, graph)
    lines.append("%s = torch.autograd.grad(loss, %s, %s%s)" % given)
    if second:
        lines.append("(slope,) = torch.autograd.grad(slope.sum(), %s)" % leaf)
    lines.append('print("%s", slope.dtype, slope.tolist())' % quantity)
    return [*lines, *("%s.requires_grad_(False)" % name for name in leaves)]
