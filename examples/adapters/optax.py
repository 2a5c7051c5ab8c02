"""optax on JAX: an adapter that lives outside the suite, with its case file beside it.

Read off optax 0.2.8 and jax 0.10.2 on a CPU. The function has neither weights nor a reduction:
weights are not offered, and `mean` and `sum` are taken by jax.numpy, as optax's own examples do.
"""

import numpy

NAME = "optax"
NEEDS = "Python 3.11 to 3.14"
MODES = ("eager", "compiled")
SURFACES = ("optax.sigmoid_binary_cross_entropy",)


class NotOffered(NotImplementedError):
    """What this adapter cannot ask for; no refusal of the framework's."""


def open(device, mode):
    if device != "cpu":
        raise ValueError("optax is driven on cpu here, not on %r" % device)
    if mode not in MODES:
        raise ValueError("optax has no mode %r, only %s" % (mode, " and ".join(MODES)))
    return Adapter(mode)


class Adapter:
    own_loss = None  # a callable of the user's, in the place of optax's

    def __init__(self, mode):
        import jax
        import optax

        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)  # else float64 arrays become float32
        self.jax, self.optax, self.mode = jax, optax, mode

    def describe(self):
        return {
            "framework_version": self.optax.__version__,
            "device_name": "CPU, jax " + self.jax.__version__,
            "platform_kind": "CPU",
        }

    def prepare(self, call):
        given = dict(call["arguments"], upstream=call["upstream"])
        if set(call["layouts"].values()) - {"cycled"}:
            raise NotOffered("arrays of JAX have no strides")
        tensors = {name: array and self.tensor(*array) for name, array in given.items()}
        upstream = tensors.pop("upstream")
        if self.own_loss is None:
            if tensors["weight"] is not None or tensors["pos_weight"] is not None:
                raise NotOffered("optax has neither weight nor pos_weight")
            if "reduction" not in call["options"]:
                raise NotOffered("optax has no reduction, so no default one")
            if call["options"]["reduction"] not in ("none", "mean", "sum"):
                raise NotOffered("optax has no reduction, so no unknown one")
        return tensors, call["options"], call["want"], upstream

    def run(self, prepared):
        tensors, options, want, upstream = prepared
        given = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        for quantity in want:
            function = self.quantity(quantity, options, upstream)
            compiled = self.jax.jit(function) if self.mode == "compiled" else function
            yield (quantity, *self.array(compiled(given)))

    def inputs(self, prepared):
        tensors, _, _, upstream = prepared
        for name, tensor in dict(tensors, upstream=upstream).items():
            if tensor is not None:
                yield (name, *self.array(tensor))

    def quantity(self, quantity, options, upstream):
        """A function of the arguments by name: the loss, or one derivative of it."""
        if quantity == "forward":
            return lambda given: self.loss(given, options)
        name = quantity.split(".")[1]

        def slope(given):
            loss, back = self.jax.vjp(lambda a: self.loss({**given, name: a}, options), given[name])
            arriving = self.jax.numpy.ones_like(loss) if upstream is None else upstream
            return back(arriving)[0]

        if quantity != "hessian.logits":
            return slope
        # The loss is elementwise: differentiating the sum of the slopes gives the diagonal.
        return lambda given: self.jax.grad(lambda a: slope({**given, name: a}).sum())(given[name])

    def loss(self, given, options):
        rest = dict(given)
        logits, target = rest.pop("logits"), rest.pop("target")
        if self.own_loss is not None:
            return self.own_loss(logits, target, **rest, **options)
        loss = self.optax.sigmoid_binary_cross_entropy(logits, target)
        return loss if options["reduction"] == "none" else getattr(loss, options["reduction"])()

    def tensor(self, dtype, array):
        """An array of exactly these bits; bfloat16 arrives as uint16."""
        if dtype == "bfloat16":
            array = array.view(self.jax.numpy.bfloat16.dtype)
        return self.jax.numpy.asarray(array)

    def array(self, tensor):
        """(dtype, array) of an array; bfloat16 leaves as uint16."""
        held, dtype = numpy.asarray(tensor), str(tensor.dtype)
        return dtype, held.view("uint16") if dtype == "bfloat16" else held


def reproduction(call, literal):
    """Plain JAX code that makes the call; `literal(array)` is an array's values as source."""
    names = [name for name, given in call["arguments"].items() if given is not None]
    lines = ["import jax, optax", "import jax.numpy as jnp", ""]
    lines += ['jax.config.update("jax_enable_x64", True)']
    for name, given in dict(call["arguments"], upstream=call["upstream"]).items():
        if given is not None:
            made = "jnp.array(%s, dtype=jnp.%s)" % (literal(given), given["dtype"])
            lines.append("%s = %s.reshape(%r)" % (name, made, tuple(given["shape"])))
    passed, reduction = ", ".join(names), call["options"].get("reduction", "none")
    reduced = "" if reduction == "none" else ".%s()" % reduction
    called = "optax.sigmoid_binary_cross_entropy(logits, target)" + reduced
    if call.get("own_loss"):
        own = call["own_loss"]
        lines.insert(2, "from %s import %s as own_loss" % (own["file"][:-3], own["callable"]))
        keywords = ["%s=%s" % (name, name) for name in names[2:]]
        keywords += ["%s=%r" % option for option in call["options"].items()]
        called = "own_loss(%s)" % ", ".join(["logits, target", *keywords])
    lines.append("loss = lambda %s: %s" % (passed, called))
    for quantity in call["want"]:
        lines += quantity_source(quantity, passed, names, call)
    return "\n".join(lines) + "\n"


def quantity_source(quantity, passed, names, call):
    jitted = "jax.jit(%s)" if call.get("mode") == "compiled" else "(%s)"
    if quantity == "forward":
        return ['print("forward", %s(%s))' % (jitted % "loss", passed)]
    at = names.index(quantity.split(".")[1])
    arriving = " * upstream" if call["upstream"] is not None else ""
    summed = "jax.grad(lambda %s: (loss(%s)%s).sum(), %d)" % (passed, passed, arriving, at)
    if quantity == "hessian.logits":
        summed = "jax.grad(lambda %s: %s(%s).sum(), %d)" % (passed, summed, passed, at)
    return ['print("%s", %s(%s))' % (quantity, jitted % summed, passed)]
