"""optax on JAX: an adapter that lives outside the suite, with its case file beside it.

Read off optax 0.2.8 and jax 0.10.2 on a CPU. The function has neither weights nor a reduction:
weights are not offered, and means and sums are taken of what it returns, as optax's users do.
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
    def __init__(self, mode):
        import jax
        import optax

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
        if given.pop("weight") is not None or given.pop("pos_weight") is not None:
            raise NotOffered("optax has neither weight nor pos_weight")
        if call["options"].get("reduction") not in ("none", "mean", "sum"):
            raise NotOffered("optax has no reduction: no default one, and no unknown one")
        if set(call["layouts"].values()) - {"cycled"}:
            raise NotOffered("arrays of JAX have no strides")
        arrays = {name: array and self.tensor(*array) for name, array in given.items()}
        return arrays, call["options"]["reduction"], call["want"]

    def run(self, prepared):
        arrays, reduction, want = prepared
        for quantity in want:
            function = self.quantity(quantity, reduction, arrays["upstream"])
            function = self.jax.jit(function) if self.mode == "compiled" else function
            yield (quantity, *self.array(function(arrays["logits"], arrays["target"])))

    def inputs(self, prepared):
        return [(n, *self.array(a)) for n, a in prepared[0].items() if a is not None]

    def quantity(self, quantity, reduction, upstream):
        """A function of logits and target: the loss, or one derivative of it."""

        def loss(logits, target):
            unreduced = self.optax.sigmoid_binary_cross_entropy(logits, target)
            return unreduced if reduction == "none" else getattr(unreduced, reduction)()

        def scalar(logits, target):
            arrived = loss(logits, target)
            return (arrived if upstream is None else arrived * upstream).sum()

        if quantity == "forward":
            return loss
        slope = self.jax.grad(scalar, argnums=int(quantity == "grad.target"))
        if quantity == "hessian.logits":  # of an elementwise loss: the diagonal
            return self.jax.grad(lambda logits, target: slope(logits, target).sum())
        return slope

    def tensor(self, dtype, array):
        """An array of exactly these bits; bfloat16 arrives as uint16."""
        held = array.view(self.jax.numpy.bfloat16.dtype) if dtype == "bfloat16" else array
        return self.jax.numpy.asarray(held)

    def array(self, held):
        """(dtype, array) of an array; bfloat16 leaves as uint16."""
        dtype, array = str(held.dtype), numpy.asarray(held)
        return dtype, array.view("uint16") if dtype == "bfloat16" else array


def reproduction(call, literal):
    """Plain JAX code that makes the call; `literal(array)` is an array's values as source."""
    lines = ["import jax, optax", "import jax.numpy as jnp", ""]
    lines.append('jax.config.update("jax_enable_x64", True)')
    for name, given in dict(call["arguments"], upstream=call["upstream"]).items():
        if given is not None:
            shape = tuple(given["shape"])
            made = "jnp.array(%s, dtype=jnp.%s)" % (literal(given), given["dtype"])
            lines.append("%s = %s.reshape(%r)" % (name, made, shape))
    reduction = call["options"].get("reduction", "none")
    reduced = "" if reduction == "none" else ".%s()" % reduction
    upstream = " * upstream" if call["upstream"] is not None else ""
    lines += [
        "loss = lambda x, y: optax.sigmoid_binary_cross_entropy(x, y)" + reduced,
        "scalar = lambda x, y: (loss(x, y)%s).sum()" % upstream,
    ]
    for quantity in call["want"]:
        code = {
            "forward": "loss",
            "grad.target": "jax.grad(scalar, argnums=1)",
            "hessian.logits": "jax.grad(lambda x, y: jax.grad(scalar)(x, y).sum())",
        }.get(quantity, "jax.grad(scalar)")
        code = "jax.jit(%s)" % code if call.get("mode") == "compiled" else "(%s)" % code
        lines.append('print("%s", %s(logits, target).tolist())' % (quantity, code))
    return "\n".join(lines) + "\n"
