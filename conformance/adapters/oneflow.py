"""OneFlow: the module and the function, eager and in an nn.Graph.

Read off oneflow 0.9.0 on a CPU. What shaped this file:

- Every quantity is a call of its own, so that a refused gradient does not take the loss with it.
- The function's name is `oneflow.nn.functional.binary_cross_entropy_with_logits`; underneath it
  is `oneflow._C.binary_cross_entropy_with_logits_loss`.
- An nn.Graph differentiates only for an optimizer: `oneflow.autograd.grad` fails inside build
  ("job has no TrainConf", or "This is a oneflow bug"). What works is to retain the gradient of an
  input, to call backward on a scalar, and to give the graph an optimizer, here of a parameter
  that is added to the scalar and has no influence on the rest. A second derivative has no way.
- Graphs are fragile. One for which there is no kernel takes the process with it when the next one
  is compiled ("Check failed: Get() == nullptr"), a process may make no more than about 1300 of
  them ("stream_index <= kMaxStreamIndex"), and a call of any, `x * 2` even, ends in a segmentation
  fault about once in a thousand times. So a graph is called again where it can be.
- Eager views have strides of their own, and an nn.Graph takes them as they are.
- oneflow has no numpy counterpart of bfloat16: it is cast from and to float32, which is exact.
- Some inputs abort the process; nothing here tries to prevent it.
"""

import functools
import io
import os

import numpy

NAME = "oneflow"
NEEDS = "Python 3.7 to 3.10"
MODES = ("eager", "compiled")
FRAGILE = ("compiled",)  # after a failed nn.Graph the next one may abort the process
SURFACES = (
    "oneflow.nn.BCEWithLogitsLoss",
    "oneflow.nn.functional.binary_cross_entropy_with_logits",
)
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "int8", "int32", "int64", "uint8", "bool")


def open(device, mode):
    """The adapter on cpu, cuda or cuda:N. Raises ValueError where there is no such device."""
    if mode not in MODES:
        raise ValueError("oneflow has no mode %r, only %s" % (mode, " and ".join(MODES)))
    return Adapter(usable(device), mode)


def usable(device):
    """`device`, if this build of oneflow and this machine have it."""
    import oneflow

    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError("oneflow is driven on cpu, cuda or cuda:N here, not on %r" % device)
    if kind == "cuda" and int(index or 0) >= oneflow.cuda.device_count():
        raise ValueError("%s: oneflow sees %d GPUs" % (device, oneflow.cuda.device_count()))
    return device


class NotOffered(NotImplementedError):
    """A quantity that this adapter cannot ask for in this mode; no refusal of the framework's."""


class Adapter:
    own_loss = None  # a callable of the user's, instead of the framework's

    def __init__(self, device, mode):
        import oneflow

        self.oneflow, self.device, self.mode = oneflow, device, mode
        self.forward_graph, self.gradient_graph = graphs(oneflow, device)
        self.compiled_for, self.graphs = None, {}  # the graphs of one signature, by quantity

    def describe(self):
        gpu = self.device.startswith("cuda")
        return {
            "framework_version": self.oneflow.__version__,
            "device_name": "GPU" if gpu else cpu_name(),
            "platform_kind": "GPU" if gpu else "CPU",
        }

    def prepare(self, call):
        given = dict(call["arguments"], upstream=call["upstream"])
        arguments = {
            name: array and self.tensor(name, *array, call["layouts"].get(name))
            for name, array in given.items()
        }
        upstream = arguments.pop("upstream")
        if self.mode == "compiled":
            self.forget_other_graphs(call)
        along_with = call.get("beside", ())
        return call["surface"], arguments, call["options"], call["want"], upstream, along_with

    def forget_other_graphs(self, call):
        """A graph can be called again with tensors of the same shapes and dtypes."""
        given = dict(call["arguments"], upstream=call["upstream"])
        shapes = {name: a and (a[0], a[1].shape) for name, a in given.items()}
        signature = (call["surface"], repr(sorted(shapes.items())), repr(call["options"]))
        if signature != self.compiled_for:
            self.compiled_for, self.graphs = signature, {}

    def run(self, prepared):
        surface, arguments, options, want, upstream, along_with = prepared
        loss = functools.partial(self.loss, surface, options)
        evaluate = self.eager if self.mode == "eager" else self.compiled
        for quantity in want:
            value = evaluate(quantity, loss, arguments, upstream, along_with)
            yield (quantity, *self.array(value))

    def inputs(self, prepared):
        """The arguments as they are held now: (name, dtype, array) of each."""
        _, arguments, _, _, upstream, _ = prepared
        for name, tensor in dict(arguments, upstream=upstream).items():
            if tensor is not None:
                yield (name, *self.array(tensor))

    def eager(self, quantity, loss, arguments, upstream, along_with):
        """The loss, or one derivative of it, with those of the arguments beside and no other."""
        if quantity == "forward":
            return loss(arguments)
        names = [quantity.split(".")[1], *along_with]
        leaves = [arguments[name].requires_grad_(True) for name in names]
        try:
            second = quantity == "hessian.logits"
            slope = self.gradient(names, loss(arguments), leaves, upstream, create_graph=second)
            # The loss is elementwise: differentiating the sum gives the diagonal.
            return self.gradient(names, slope.sum(), leaves[:1], None) if second else slope
        finally:
            for leaf in leaves:
                leaf.requires_grad_(False)

    def gradient(self, names, output, leaves, upstream, create_graph=False):
        """That of the first leaf; those of the others are computed with it."""
        arriving = self.oneflow.ones_like(output) if upstream is None else upstream
        slope, *_ = self.oneflow.autograd.grad(output, leaves, arriving, create_graph=create_graph)
        if slope is None:
            raise RuntimeError("no gradient: oneflow returned None for %s" % names[0])
        return slope

    def compiled(self, quantity, loss, arguments, upstream, along_with):
        if quantity == "hessian.logits":
            raise NotOffered("an nn.Graph differentiates once, for its optimizer")
        if along_with:
            raise NotOffered("a graph gives one gradient here")
        present = {name: given for name, given in arguments.items() if given is not None}
        if quantity == "forward":
            return self.call_graph(quantity, loss, present)
        name = quantity.split(".")[1]
        leaf = present[name].requires_grad_(True)
        try:
            slope = self.call_graph(quantity, loss, present, upstream)
        finally:
            leaf.requires_grad_(False)
        if slope is None:
            raise RuntimeError("no gradient: oneflow returned None for %s" % name)
        return slope

    def call_graph(self, quantity, loss, present, upstream=None):
        graph = self.graphs.get(quantity)
        if graph is None:
            names, leaf = tuple(present), quantity.split(".")[-1]
            forward = quantity == "forward"
            graph = (
                self.forward_graph(loss, names)
                if forward
                else self.gradient_graph(loss, names, leaf)
            )
        value = graph(*present.values(), *([] if upstream is None else [upstream]))
        self.graphs[quantity] = graph  # one that failed is not called again
        return value

    def loss(self, surface, options, arguments):
        weights = {n: t for n, t in arguments.items() if n.endswith("weight") and t is not None}
        logits, target = arguments["logits"], arguments["target"]
        if self.own_loss is not None:
            return self.own_loss(logits, target, **weights, **options)
        if surface == "oneflow.nn.BCEWithLogitsLoss":
            return self.oneflow.nn.BCEWithLogitsLoss(**weights, **options)(logits, target)
        function = self.oneflow.nn.functional.binary_cross_entropy_with_logits
        return function(logits, target, **weights, **options)

    def narrowed(self, tensor):
        try:
            return tensor.to(self.oneflow.bfloat16)
        except RuntimeError as error:  # 0.8.0 has the dtype, and no kernel that makes one
            if "op_kernel_not_found" not in str(error):
                raise
            raise NotImplementedError("oneflow has no bfloat16 tensor here") from error

    def tensor(self, name, dtype, array, layout=None):
        """A tensor of exactly these bits; bfloat16 arrives as uint16."""
        if dtype not in DTYPES:
            raise NotImplementedError("oneflow has no %s tensor here" % dtype)
        kind = getattr(self.oneflow, dtype)
        if dtype == "bfloat16":
            tensor = self.narrowed(self.oneflow.tensor(widened(array), device=self.device))
        else:
            tensor = self.oneflow.tensor(array, dtype=kind, device=self.device)
        if layout is None or array.ndim == 0:
            return tensor
        tensor = self.laid_out(tensor, layout)
        check_layout(name, layout, tensor.shape, tensor.stride())
        return tensor

    def laid_out(self, tensor, layout):
        """The same values, strided, transposed or expanded in memory."""
        if 0 in tensor.shape:
            return tensor
        if layout == "strided":
            return self.oneflow.stack([tensor, tensor], -1)[..., 0]
        if layout == "expanded":
            return tensor[:1].expand(*tensor.shape)
        backwards = list(reversed(range(tensor.dim())))
        return tensor.permute(*backwards).contiguous().permute(*backwards)

    def array(self, tensor):
        """(dtype, array) of a tensor; bfloat16 leaves as uint16."""
        dtype = str(tensor.dtype).split(".")[1]
        tensor = tensor.detach().cpu()
        if dtype != "bfloat16":
            return dtype, tensor.numpy()
        exact = tensor.to(self.oneflow.float32).numpy()
        bits = numpy.right_shift(exact.view("uint32"), 16, dtype="uint32")
        return dtype, numpy.asarray(bits).astype("uint16")


def named(names, given):
    return {name: given[i] for i, name in enumerate(names)}


def graphs(oneflow, device):
    """The nn.Graph classes: they need oneflow, and this file must import without it."""

    class Forward(oneflow.nn.Graph):
        def __init__(self, loss, names):
            super().__init__()
            self.loss, self.names = loss, names

        def build(self, *given):
            return self.loss(named(self.names, given))

    class Gradient(oneflow.nn.Graph):
        def __init__(self, loss, names, leaf):
            super().__init__()
            self.loss, self.names, self.leaf = loss, names, leaf
            self.idle = oneflow.nn.Linear(1, 1).to(device)
            self.add_optimizer(oneflow.optim.SGD(self.idle.parameters(), lr=0.0))

        def build(self, *given):
            arguments = named(self.names, given)
            arguments[self.leaf].retain_grad()
            output = self.loss(arguments)
            if len(given) > len(self.names):
                output = output * given[-1]
            (output.sum() + self.idle.weight.sum().to(output.dtype)).backward()
            return arguments[self.leaf].grad

    return Forward, Gradient


def widened(bits):
    """bfloat16 bits as float32, exactly. (numpy < 2 makes an int64 of `uint32 << 16` at rank 0.)"""
    shifted = numpy.left_shift(bits.astype("uint32"), 16, dtype="uint32")
    return numpy.asarray(shifted).view("float32")


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
    """Plain oneflow code that makes the call; `literal(array)` is an array's values as source."""
    device = call.get("device", "cpu")
    names = [name for name, given in call["arguments"].items() if given is not None]
    lines = ["import oneflow", ""]
    lines += [tensor_source(name, call["arguments"][name], literal, device) for name in names]
    if call["upstream"] is not None:
        lines.append(tensor_source("upstream", call["upstream"], literal, device))
    passed = ["%s=%s" % (name, name) for name in names if name.endswith("weight")]
    passed += ["%s=%r" % option for option in call["options"].items()]
    loss = "%s(%s)" % (call["surface"], ", ".join(["logits", "target", *passed]))
    if call.get("own_loss"):
        loss = "own_loss(%s)" % ", ".join(["logits", "target", *passed])
        lines.insert(1, own_source(call["own_loss"]))
    elif call["surface"] == "oneflow.nn.BCEWithLogitsLoss":
        loss = "%s(%s)(logits, target)" % (call["surface"], ", ".join(passed))
    source = graph_source if call.get("mode") == "compiled" else quantity_source
    for quantity in call["want"]:
        has_upstream = call["upstream"] is not None
        lines += ["", *source(quantity, loss, names, has_upstream, call.get("beside", ()))]
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
    dtype, placed = array["dtype"], "" if device == "cpu" else ", device=%r" % device
    made, cast = dtype, ""
    if dtype == "bfloat16":
        made, cast = "float32", ".to(oneflow.bfloat16)"
    if 0 in array["shape"]:
        shape = tuple(array["shape"])
        return "%s = oneflow.zeros(%r, dtype=oneflow.%s%s)%s" % (name, shape, made, placed, cast)
    values = literal(array)
    line = "%s = oneflow.tensor(%s, dtype=oneflow.%s%s)%s" % (name, values, made, placed, cast)
    return line + layout_source(name, array)


def layout_source(name, array):
    layout, rank = array.get("layout"), len(array["shape"])
    if layout in (None, "cycled") or rank == 0:
        return ""
    backwards = ", ".join(map(str, reversed(range(rank))))
    laid_out = {
        "strided": "oneflow.stack([{0}, {0}], -1)[..., 0]".format(name),
        "expanded": "%s[:1].expand(*%s.shape)" % (name, name),
        "transposed": "{0}.permute({1}).contiguous().permute({1})".format(name, backwards),
    }
    return "\n%s = %s  # %s in memory" % (name, laid_out[layout], layout)


def listed(names):
    return "[%s]" % ", ".join(names)


def quantity_source(quantity, loss, names, has_upstream, along_with):
    if quantity == "forward":
        return ["loss = " + loss, 'print("forward", loss.dtype, loss.numpy().tolist())']
    leaf = quantity.split(".")[1]
    arriving = "upstream" if has_upstream else "oneflow.ones_like(loss)"
    second = quantity == "hessian.logits"
    graph = ", create_graph=True" if second else ""
    leaves = [leaf, *along_with]
    lines = ["%s.requires_grad_(True)" % name for name in leaves]
    lines.append("loss = " + loss)
    taken, slopes = (leaf, "(slope,)") if not along_with else (listed(leaves), "slope, *others")
    given = (slopes, taken, arriving, graph)
    lines.append("%s = oneflow.autograd.grad(loss, %s, %s%s)" % given)
    if second:
        lines.append(
            "(slope,) = oneflow.autograd.grad(slope.sum(), %s, oneflow.ones_like(slope.sum()))"
            % leaf
        )
    lines.append('print("%s", slope.dtype, slope.numpy().tolist())' % quantity)
    return [*lines, *("%s.requires_grad_(False)" % name for name in leaves)]


def graph_source(quantity, loss, names, has_upstream, along_with):
    if along_with:
        return ["# a graph gives one gradient here"]
    if quantity == "hessian.logits":
        return ["# an nn.Graph differentiates once, for its optimizer: no hessian.logits"]
    if quantity == "forward":
        return [
            "class Forward(oneflow.nn.Graph):",
            "    def build(self, %s):" % ", ".join(names),
            "        return " + loss,
            "",
            "value = Forward()(%s)" % ", ".join(names),
            'print("forward", value.dtype, value.numpy().tolist())',
        ]
    leaf = quantity.split(".")[1]
    taken = ", ".join(names + (["upstream"] if has_upstream else []))
    scalar = "(loss * upstream).sum()" if has_upstream else "loss.sum()"
    return [
        "class Gradient(oneflow.nn.Graph):",
        "    def __init__(self):",
        "        super().__init__()",
        "        # A graph differentiates only where an optimizer has something to optimize.",
        "        self.idle = oneflow.nn.Linear(1, 1)",
        "        self.add_optimizer(oneflow.optim.SGD(self.idle.parameters(), lr=0.0))",
        "    def build(self, %s):" % taken,
        "        %s.retain_grad()" % leaf,
        "        loss = " + loss,
        "        (%s + self.idle.weight.sum().to(loss.dtype)).backward()" % scalar,
        "        return %s.grad" % leaf,
        "",
        "%s.requires_grad_(True)" % leaf,
        "slope = Gradient()(%s)" % taken,
        'print("%s", slope.dtype, slope.numpy().tolist())' % quantity,
        "%s.requires_grad_(False)" % leaf,
    ]
