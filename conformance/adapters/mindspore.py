"""MindSpore: ops, nn and mint, in PyNative mode and through mindspore.jit.

Read off mindspore 2.10.0 on a CPU. What shaped this file:

- PyNative mode dispatches asynchronously; with pynative_synchronize an error surfaces at the call
  that made it. Results are read at once for the same reason.
- mindspore.jit hands a Primitive back uncompiled, with a warning, and mindspore.grad refuses one
  ("has no attribute '__name__'"), so `mindspore.ops.BCEWithLogitsLoss` is called from a function.
- A jit graph holds the weight and pos_weight of a Cell as constants, so there is no gradient to
  ask for; in PyNative mode the Cell is made inside the function which is differentiated.
- jit runs with fullgraph=True: otherwise it may hand parts of a function to the interpreter.
- Views have strides of their own, and jit takes them as they are. Methods such as mul_ leave the
  tensor unchanged on a CPU, so a call that changes its inputs would have to assign to items.
- jit reads the source of what it compiles, so `in_a_function` must stay a plain function.
"""

import functools
import inspect
import io
import os
import re
import tempfile

import numpy

NAME = "mindspore"
NEEDS = "Python 3.10 to 3.12"
MODES = ("eager", "compiled")
PRIMITIVE = "mindspore.ops.BCEWithLogitsLoss"
FUNCTIONS = (
    "mindspore.ops.binary_cross_entropy_with_logits",
    "mindspore.mint.nn.functional.binary_cross_entropy_with_logits",
)
CELLS = ("mindspore.nn.BCEWithLogitsLoss", "mindspore.mint.nn.BCEWithLogitsLoss")
OWN = "a loss of one's own"
SURFACES = (PRIMITIVE, *FUNCTIONS, *CELLS)
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "int8", "int16", "int32", "int64", "uint8", "bool")
TARGETS = {"cpu": "CPU", "cuda": "GPU", "ascend": "Ascend"}
ORDER = ("logits", "target", "weight", "pos_weight")


def open(device, mode):
    """The adapter on cpu, cuda, ascend or one with :N. Raises ValueError if it is not there."""
    if mode not in MODES:
        raise ValueError("mindspore has no mode %r, only %s" % (mode, " and ".join(MODES)))
    kind, _, index = device.partition(":")
    if kind not in TARGETS or (index and not index.isdigit()):
        raise ValueError("mindspore is driven on cpu, cuda or ascend here, not on %r" % device)
    return Adapter(TARGETS[kind], int(index or 0), mode)


class NotOffered(NotImplementedError):
    """A quantity that this adapter cannot ask for in this mode; no refusal of the framework's."""


class Adapter:
    own_loss = None  # a callable of the user's, instead of the framework's

    def __init__(self, target, index, mode):
        # A graph that fails to compile leaves rank_0/om/analyze_fail.ir, by default where one is.
        os.environ.setdefault("MS_OM_PATH", tempfile.gettempdir())
        import mindspore

        self.mindspore, self.target, self.mode = mindspore, target, mode
        try:
            mindspore.set_device(target, index)
        except Exception as error:
            message = "mindspore %s has no %s device here: %s"
            raise ValueError(message % (mindspore.__version__, target, error)) from None
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE, pynative_synchronize=True)
        self.jitted = {}  # jit graphs of functions, which may be called again

    def describe(self):
        return {
            "framework_version": self.mindspore.__version__,
            "device_name": cpu_name() if self.target == "CPU" else self.target,
            "platform_kind": self.target,
        }

    def prepare(self, call):
        given = dict(call["arguments"], upstream=call["upstream"])
        *arguments, upstream = [
            given[name] and self.tensor(name, *given[name], call["layouts"].get(name))
            for name in (*ORDER, "upstream")
        ]
        along_with = call.get("beside", ())
        return call["surface"], arguments, call["options"], call["want"], upstream, along_with

    def run(self, prepared):
        surface, arguments, options, want, upstream, along_with = prepared
        for quantity in want:
            if self.mode == "eager":
                value = self.eager(quantity, surface, arguments, options, upstream, along_with)
            elif along_with:
                raise NotOffered("a graph gives one gradient here")
            else:
                value = self.compiled(quantity, surface, arguments, options, upstream)
            yield (quantity, *self.array(value))

    def inputs(self, prepared):
        """The arguments as they are held now: (name, dtype, array) of each."""
        _, arguments, _, _, upstream, _ = prepared
        held = {name: arguments[at] for at, name in enumerate(ORDER)}
        for name, tensor in dict(held, upstream=upstream).items():
            if tensor is not None:
                yield (name, *self.array(tensor))

    def eager(self, quantity, surface, arguments, options, upstream, along_with):
        loss = self.loss(surface, options)
        function, taken = self.quantity(quantity, loss, arguments, upstream, along_with)
        return function(*taken)

    def compiled(self, quantity, surface, arguments, options, upstream):
        """A Cell's weights are constants of its graph, so it is compiled for each call."""
        if surface in CELLS:
            weights = {"weight": arguments[2], "pos_weight": arguments[3]}
            weights = {name: given for name, given in weights.items() if given is not None}
            loss = self.surface(surface)(**weights, **options)
            if quantity in ("grad.weight", "grad.pos_weight"):
                raise NotOffered("a jit graph holds the weights of a Cell as constants")
            function, taken = self.quantity(quantity, loss, arguments[:2], upstream)
            return self.jit(function)(*taken)
        loss = self.loss(surface, options)
        function, taken = self.quantity(quantity, loss, arguments, upstream)
        absent = tuple(argument is None for argument in arguments)
        key = (quantity, surface, repr(sorted(options.items())), absent, upstream is None)
        if key not in self.jitted:
            self.jitted[key] = self.jit(function)
        return self.jitted[key](*taken)

    def jit(self, function):
        return self.mindspore.jit(function, fullgraph=True)

    def quantity(self, quantity, loss, arguments, upstream, along_with=()):
        """The function that gives a quantity, and its arguments."""
        if quantity == "forward":
            return loss, arguments
        taken = arguments if upstream is None else [*arguments, upstream]
        position = ORDER.index(quantity.split(".")[1])
        if along_with:
            positions = (position, *map(ORDER.index, along_with))
            slopes = self.slope(loss, positions, upstream is not None)
            return functools.partial(first_of, slopes), taken
        slope = self.slope(loss, position, upstream is not None)
        if quantity == "hessian.logits":
            # The loss is elementwise: differentiating the gradient's sum, which is what grad
            # does with an output that is no scalar, gives the diagonal.
            slope = self.mindspore.grad(slope, 0)
        return slope, taken

    def slope(self, loss, position, has_upstream):
        """The gradient with respect to one argument, or gradients with respect to several; the
        upstream, if any, follows the others."""
        if not has_upstream:
            return self.mindspore.grad(loss, position)
        if "sens_param" in inspect.signature(self.mindspore.grad).parameters:
            return self.mindspore.grad(loss, position, sens_param=True)
        if isinstance(position, tuple):  # all of them are taken anyway
            return lambda *given: [self.one_of_all(loss, position[0])(*given)]
        return self.one_of_all(loss, position)

    def one_of_all(self, loss, position):
        """The same where grad takes no upstream, as in 2.7.0: one of all gradients."""
        derived = self.mindspore.ops.GradOperation(get_all=True, sens_param=True)(loss)

        def slope(*given):
            before = [argument for argument in given[:position] if argument is not None]
            return derived(*given)[len(before)]

        return slope

    def loss(self, surface, options):
        """A call of a surface, or of the user's loss, as a function of its four tensors."""
        if self.own_loss is not None:
            return in_a_function(self.own_loss, OWN, options)
        return in_a_function(self.surface(surface), surface, options)

    def surface(self, surface):
        found = self.mindspore
        for name in surface.split(".")[1:]:
            found = getattr(found, name)
        return found

    def tensor(self, name, dtype, array, layout=None):
        """A tensor of exactly these bits; bfloat16 arrives as uint16."""
        if dtype not in DTYPES:
            raise NotImplementedError("mindspore has no %s tensor here" % dtype)
        kind = getattr(self.mindspore, "bool_" if dtype == "bool" else dtype)
        if dtype == "bfloat16":  # from float32 it is exact, payloads of NaN excepted
            tensor = self.mindspore.Tensor(widened(array), kind)
        else:
            tensor = self.mindspore.Tensor(array, kind)
        if layout is None or array.ndim == 0:
            return tensor
        tensor = self.laid_out(tensor, layout)
        check_layout(name, layout, tensor.shape, tensor.stride())
        return tensor

    def laid_out(self, tensor, layout):
        """The same values, strided, transposed or expanded in memory."""
        mint = self.mindspore.mint
        if 0 in tensor.shape:
            return tensor
        if layout == "strided":
            column = mint.unsqueeze(tensor, -1)  # mint.stack has no kernel on a CPU
            return mint.cat([column, column], -1)[..., 0]
        if layout == "expanded":
            return mint.broadcast_to(tensor[:1], tensor.shape)
        backwards = tuple(reversed(range(tensor.ndim)))
        return mint.permute(mint.permute(tensor, backwards).contiguous(), backwards)

    def array(self, tensor):
        """(dtype, array) of a tensor; bfloat16 leaves as uint16."""
        if not isinstance(tensor, self.mindspore.Tensor):
            raise RuntimeError("no tensor: mindspore returned %r" % (tensor,))
        dtype = str(tensor.dtype).lower()
        array = tensor.asnumpy()
        return dtype, array.view("uint16") if dtype == "bfloat16" else array


def first_of(slopes, *given):
    return slopes(*given)[0]


def in_a_function(surface, name, options):
    """A call of a surface as a function of its four tensors, which grad and jit both take.

    An absent weight is passed as None, the default wherever there is a default; to a loss of the
    user's own it is not passed at all, and the cases are spelled out because jit reads them.
    """

    def primitive(logits, target, weight, pos_weight):
        return surface(**options)(logits, target, weight, pos_weight)

    def function(logits, target, weight, pos_weight):
        return surface(logits, target, weight=weight, pos_weight=pos_weight, **options)

    def cell(logits, target, weight, pos_weight):
        return surface(weight=weight, pos_weight=pos_weight, **options)(logits, target)

    def own(logits, target, weight, pos_weight):
        if weight is None and pos_weight is None:
            return surface(logits, target, **options)
        if pos_weight is None:
            return surface(logits, target, weight=weight, **options)
        if weight is None:
            return surface(logits, target, pos_weight=pos_weight, **options)
        return surface(logits, target, weight=weight, pos_weight=pos_weight, **options)

    if name in (PRIMITIVE, OWN):
        return primitive if name == PRIMITIVE else own
    return cell if name in CELLS else function


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
    """Raises NotOffered where a tensor does not lie in memory as it is meant to.

    Now and then (one call in some hundreds) mindspore gives a contiguous copy for a view.
    """
    expected = strides(shape, layout)
    # Along an axis of one element, and in an array of none, nothing is stepped over.
    stepped = [axis for axis, n in enumerate(shape) if n > 1 and 0 not in shape]
    if any(expected[axis] != held[axis] for axis in stepped):
        raise NotOffered("%s: a %s tensor with strides %s" % (name, layout, tuple(held)))


def cpu_name():
    """The processor's model name, where Linux tells it."""
    try:
        with io.open("/proc/cpuinfo") as lines:
            named = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        named = []
    return named[0] if named else "CPU"


def reproduction(call, literal):
    """Plain mindspore code that makes the call; `literal(array)` is an array's values as source."""
    surface, compiled = call["surface"], call.get("mode") == "compiled"
    kind, _, index = call.get("device", "cpu").partition(":")
    lines = ["import mindspore", "from mindspore import Tensor", ""]
    lines.append('mindspore.set_device("%s", %s)' % (TARGETS[kind], index or 0))
    lines.append("mindspore.set_context(pynative_synchronize=True)")
    given = {name: array for name, array in call["arguments"].items() if array is not None}
    lines += [tensor_source(name, given[name], literal) for name in ORDER if name in given]
    if call["upstream"] is not None:
        lines.append(tensor_source("upstream", call["upstream"], literal))
    held = surface in CELLS and compiled
    names = ORDER[:2] if held else [n for n in ORDER if n in given or surface == PRIMITIVE]
    if call.get("own_loss"):
        surface = "own_loss"
        lines.insert(1, own_source(call["own_loss"]))
    lines += ["", *criterion_source(surface, given, call["options"], held)]
    if compiled and not held:
        lines.insert(0, "# Save as a file: mindspore.jit reads the source of what it compiles.")
    for quantity in call["want"]:
        has_upstream = call["upstream"] is not None
        along_with = call.get("beside", ())
        lines += quantity_source(
            quantity, names, given, has_upstream, compiled, is_old(call), along_with
        )
    return "\n".join(lines) + "\n"


def is_old(call):
    """Whether the release may be one whose grad takes no upstream; 2.10.0 is not."""
    release = re.match(r"(\d+)\.(\d+)", call.get("framework_version", ""))
    return release is not None and tuple(map(int, release.groups())) < (2, 10)


def own_source(loss):
    """The import of the user's loss; under its own name it could hide a name of the paste."""
    if "statement" in loss:
        return loss["statement"]
    file = os.path.basename(loss["file"])
    names = (os.path.splitext(file)[0], loss["callable"], loss["file"])
    return "from %s import %s as own_loss  # %s" % names


def tensor_source(name, array, literal):
    """A line that makes the tensor, and where it has a layout another that lays it out."""
    kind = "mindspore." + ("bool_" if array["dtype"] == "bool" else array["dtype"])
    if 0 in array["shape"]:
        return "%s = mindspore.ops.zeros(%r, %s)" % (name, tuple(array["shape"]), kind)
    return "%s = Tensor(%s, %s)%s" % (name, literal(array), kind, layout_source(name, array))


def layout_source(name, array):
    layout, shape = array.get("layout"), tuple(array["shape"])
    if layout in (None, "cycled") or not shape:
        return ""
    backwards = tuple(reversed(range(len(shape))))
    there = "mindspore.mint.permute(%s, %r).contiguous()" % (name, backwards)
    laid_out = {
        "strided": "mindspore.mint.cat([{0}, {0}], -1)[..., 0]".format(name + "[..., None]"),
        "expanded": "mindspore.mint.broadcast_to(%s[:1], %r)" % (name, shape),
        "transposed": "mindspore.mint.permute(%s, %r)" % (there, backwards),
    }
    return "\n%s = %s  # %s in memory" % (name, laid_out[layout], layout)


def criterion_source(surface, given, options, held):
    """The surface as a function of the tensors that may be differentiated."""
    weights = ["%s=%s" % (name, name) for name in ORDER[2:] if name in given]
    plain = ["%s=%r" % option for option in options.items()]
    if held:
        return ["criterion = %s(%s)" % (surface, ", ".join(weights + plain))]
    if surface == PRIMITIVE:
        made = "%s(%s)" % (surface, ", ".join(plain))
        return [
            "",
            "def criterion(%s):" % ", ".join(ORDER),
            "    return %s(%s)" % (made, ", ".join(ORDER)),
            "",
        ]
    names = ", ".join(name for name in ORDER if name in given)
    called = "%s(%s)" % (surface, ", ".join(["logits", "target", *weights, *plain]))
    if surface in CELLS:
        called = "%s(%s)(logits, target)" % (surface, ", ".join(weights + plain))
    return ["", "def criterion(%s):" % names, "    return " + called, ""]


def quantity_source(quantity, names, given, has_upstream, compiled, old, along_with):
    taken = [name if name in given else "None" for name in names]
    function = "criterion"
    if quantity != "forward":
        leaf = quantity.split(".")[1]
        if leaf not in names:
            return ["# a jit graph holds %s as a constant" % leaf]
        taken += ["upstream"] if has_upstream else []
        position = list(names).index(leaf)
        positions = (position, *map(list(names).index, along_with))
        sens = ", sens_param=True" if has_upstream else ""
        function = "mindspore.grad(criterion, %r%s)" % (positions if along_with else position, sens)
        if along_with:
            function = "(lambda *given: %s(*given)[0])" % function
        if has_upstream and old:
            derived = "mindspore.ops.GradOperation(get_all=True, sens_param=True)(criterion)"
            before = [name for name in names[:position] if name in given]
            function = "(lambda *given: %s(*given)[%d])" % (derived, len(before))
        if quantity == "hessian.logits":
            function = "mindspore.grad(%s, 0)" % function
    if compiled:
        function = "mindspore.jit(%s, fullgraph=True)" % function
    return [
        "value = %s(%s)" % (function, ", ".join(taken)),
        'print("%s", value.dtype, value.asnumpy().astype("float64").tolist())' % quantity,
    ]
