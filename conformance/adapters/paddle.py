"""PaddlePaddle: the function and the layer, dynamic and through paddle.jit.to_static.

Read off paddlepaddle 3.3.1 on a CPU. What shaped this file:

- Every quantity is a call of its own, in which only the differentiated argument has
  stop_gradient=False: paddle refuses the gradient of target and pos_weight in dynamic mode, and
  that must not take the loss with it.
- to_static runs with full_graph=True. The default traces the bytecode and goes on in dynamic mode
  where it cannot, without a word.
- dynamic mode has views with strides of their own, and to_static takes them as they are; only
  `expand` copies, so a stride of 0 is made with as_strided.
- bfloat16 is uint16 on the numpy side, in both directions, so no bit is converted.
"""

import functools
import io
import os

NAME = "paddle"
NEEDS = "Python 3.9 to 3.13"
MODES = ("eager", "compiled")
SURFACES = (
    "paddle.nn.functional.binary_cross_entropy_with_logits",
    "paddle.nn.BCEWithLogitsLoss",
)
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "bool")


def open(device, mode):
    """The adapter on cpu, cuda or cuda:N. Raises ValueError where there is no such device."""
    if mode not in MODES:
        raise ValueError("paddle has no mode %r, only %s" % (mode, " and ".join(MODES)))
    return Adapter(device, mode)


def paddle_device(device):
    """`device` in paddle's words, if this build of paddle and this machine have it."""
    import paddle

    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise ValueError("paddle is driven on cpu, cuda or cuda:N here, not on %r" % device)
    if kind == "cpu":
        return "cpu"
    count = paddle.device.cuda.device_count() if paddle.is_compiled_with_cuda() else 0
    if int(index or 0) >= count:
        build = "CUDA" if paddle.is_compiled_with_cuda() else "no CUDA"
        raise ValueError(
            "%s: paddle %s was built with %s and sees %d GPUs"
            % (device, paddle.__version__, build, count)
        )
    return "gpu:%s" % (index or 0)


class Adapter:
    own_loss = None  # a callable of the user's, instead of the framework's

    def __init__(self, device, mode):
        import paddle

        self.paddle, self.mode = paddle, mode
        self.device = paddle_device(device)
        paddle.set_device(self.device)
        self.static = {}  # functions that to_static has compiled

    def describe(self):
        gpu = self.device.startswith("gpu")
        return {
            "framework_version": self.paddle.__version__,
            "device_name": self.paddle.device.cuda.get_device_name() if gpu else cpu_name(),
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
            loss = functools.partial(self.loss, quantity, surface, arguments, options)
            value = self.evaluate(quantity, loss, arguments, upstream, along_with)
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
        leaves = [arguments[name] for name in names]
        try:
            for leaf in leaves:
                leaf.stop_gradient = False
            second = quantity == "hessian.logits"
            slope = self.gradient(names, loss(), leaves, upstream, create_graph=second)
            # The loss is elementwise: differentiating the sum gives the diagonal.
            return self.gradient(names, slope.sum(), leaves[:1], None) if second else slope
        finally:
            for leaf in leaves:
                leaf.stop_gradient = True

    def gradient(self, names, output, leaves, upstream, create_graph=False):
        """That of the first leaf; those of the others are computed with it."""
        arriving = self.paddle.ones_like(output) if upstream is None else upstream
        slope, *_ = self.paddle.grad([output], leaves, [arriving], create_graph=create_graph)
        if slope is None:
            raise RuntimeError("no gradient: paddle returned None for %s" % names[0])
        return slope

    def loss(self, quantity, surface, arguments, options):
        logits, target = arguments["logits"], arguments["target"]
        if self.own_loss is not None:
            return self.own(quantity, arguments, options)
        weights = {n: t for n, t in arguments.items() if n.endswith("weight") and t is not None}
        if surface == "paddle.nn.BCEWithLogitsLoss":
            layer = self.paddle.nn.BCEWithLogitsLoss(**weights, **options)
            if self.mode == "compiled":
                layer = self.paddle.jit.to_static(layer, full_graph=True)
            return layer(logits, target)
        function = self.paddle.nn.functional.binary_cross_entropy_with_logits
        if self.mode == "compiled":
            function = self.compiled(function, quantity)
        return function(logits, target, **weights, **options)

    def own(self, quantity, arguments, options):
        """The user's own loss, as it is or compiled."""
        loss = in_order(self.own_loss, options)
        if self.mode == "compiled":
            loss = self.compiled(loss, (quantity, repr(sorted(options.items()))))
        return loss(*arguments.values())

    def compiled(self, function, key):
        """One compiled function per quantity, so that which argument is a leaf never changes."""
        if key not in self.static:
            self.static[key] = self.paddle.jit.to_static(function, full_graph=True)
        return self.static[key]

    def tensor(self, name, dtype, array, layout=None):
        """A tensor of exactly these bits; bfloat16 arrives as uint16."""
        if dtype not in DTYPES:
            raise NotImplementedError("paddle has no %s tensor here" % dtype)
        tensor = self.paddle.to_tensor(array, dtype=dtype)
        if layout is None or array.ndim == 0:
            return tensor
        tensor = self.laid_out(tensor, layout)
        check_layout(name, layout, tensor.shape, tensor.strides)
        return tensor

    def laid_out(self, tensor, layout):
        """The same values, strided, transposed or expanded in memory."""
        if 0 in tensor.shape:
            return tensor
        if layout == "strided":
            return self.paddle.stack([tensor, tensor], -1)[..., 0]
        if layout == "expanded":  # paddle's own expand copies
            steps = strides(tensor.shape, layout)
            return self.paddle.as_strided(tensor[:1], tensor.shape, steps)
        backwards = list(reversed(range(tensor.ndim)))
        return tensor.transpose(backwards).contiguous().transpose(backwards)

    def array(self, tensor):
        """(dtype, array) of a tensor; bfloat16 leaves as uint16."""
        return str(tensor.dtype).split(".")[1], tensor.detach().numpy()


def in_order(loss, options):
    """The user's loss as a function of its four tensors; to_static feeds no keyword-only one."""

    def own(logits, target, weight, pos_weight):
        given = {"weight": weight, "pos_weight": pos_weight}
        given = {name: tensor for name, tensor in given.items() if tensor is not None}
        return loss(logits, target, **given, **options)

    return own


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
    """Plain paddle code that makes the call; `literal(array)` is an array's values as source."""
    names = [name for name, given in call["arguments"].items() if given is not None]
    lines = ["import paddle", ""]
    kind, _, index = call.get("device", "cpu").partition(":")
    lines.append('paddle.set_device("%s")' % ("cpu" if kind == "cpu" else "gpu:" + (index or "0")))
    lines += [tensor_source(name, call["arguments"][name], literal) for name in names]
    if call["upstream"] is not None:
        lines.append(tensor_source("upstream", call["upstream"], literal))
    passed = ["%s=%s" % (name, name) for name in names if name.endswith("weight")]
    passed += ["%s=%r" % option for option in call["options"].items()]
    criterion, called_with = call["surface"], ["logits", "target", *passed]
    if call.get("own_loss"):
        criterion = "own_loss"
        lines.insert(1, own_source(call["own_loss"]))
    elif call["surface"] == "paddle.nn.BCEWithLogitsLoss":
        criterion, called_with = "%s(%s)" % (criterion, ", ".join(passed)), ["logits", "target"]
    if call.get("mode") == "compiled" and call.get("own_loss"):
        names = [n for n in call["arguments"] if call["arguments"][n] is not None]
        lines += ["", *in_order_source(criterion, names, passed)]
        criterion, called_with = "in_order", names
    if call.get("mode") == "compiled":
        criterion = "paddle.jit.to_static(%s, full_graph=True)" % criterion
    for quantity in call["want"]:
        loss = ["criterion = " + criterion, "loss = criterion(%s)" % ", ".join(called_with)]
        has_upstream = call["upstream"] is not None
        lines += ["", *quantity_source(quantity, loss, has_upstream, call.get("beside", ()))]
    return "\n".join(lines) + "\n"


def own_source(loss):
    """The import of the user's loss; under its own name it could hide a name of the paste."""
    if "statement" in loss:
        return loss["statement"]
    file = os.path.basename(loss["file"])
    names = (os.path.splitext(file)[0], loss["callable"], loss["file"])
    return "from %s import %s as own_loss  # %s" % names


def tensor_source(name, array, literal):
    """A line that makes the tensor, and where it has a layout another that lays it out."""
    dtype, shape = array["dtype"], array["shape"]
    if 0 in shape:
        return '%s = paddle.zeros(%r, dtype="%s")' % (name, list(shape), dtype)
    made = '%s = paddle.to_tensor(%s, dtype="%s")' % (name, literal(array), dtype)
    return made + layout_source(name, array)


def layout_source(name, array):
    layout, shape = array.get("layout"), list(array["shape"])
    if layout in (None, "cycled") or not shape:
        return ""
    backwards = list(reversed(range(len(shape))))
    steps = strides(shape, layout)
    laid_out = {
        "strided": "paddle.stack([{0}, {0}], -1)[..., 0]".format(name),
        "expanded": "paddle.as_strided(%s[:1], %r, %r)" % (name, shape, steps),
        "transposed": "{0}.transpose({1}).contiguous().transpose({1})".format(name, backwards),
    }
    return "\n%s = %s  # %s in memory" % (name, laid_out[layout], layout)


def in_order_source(criterion, names, passed):
    return [
        "def in_order(%s):  # to_static feeds no keyword-only argument" % ", ".join(names),
        "    return %s(%s)" % (criterion, ", ".join(["logits", "target", *passed])),
    ]


def quantity_source(quantity, loss, has_upstream, along_with):
    # A bfloat16 tensor lists its bits: numbers are printed from float64, which is exact.
    if quantity == "forward":
        return [*loss, 'print("forward", loss.dtype, loss.astype("float64").tolist())']
    leaf = quantity.split(".")[1]
    arriving = "upstream" if has_upstream else "paddle.ones_like(loss)"
    second = quantity == "hessian.logits"
    graph = ", create_graph=True" if second else ""
    leaves = [leaf, *along_with]
    lines = [*("%s.stop_gradient = False" % name for name in leaves), *loss]
    slopes = "slope, *others" if along_with else "(slope,)"
    given = (slopes, ", ".join(leaves), arriving, graph)
    lines.append("%s = paddle.grad([loss], [%s], [%s]%s)" % given)
    if second:
        lines.append("(slope,) = paddle.grad([slope.sum()], [%s])" % leaf)
    lines.append('print("%s", slope.dtype, slope.astype("float64").tolist())' % quantity)
    return [*lines, *("%s.stop_gradient = True" % name for name in leaves)]
