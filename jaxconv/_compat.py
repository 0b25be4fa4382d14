"""The only file that knows JAX's moving and private parts, by version.

Written against JAX 0.10.2 and 0.12.0.1. Everything else in the package imports public names, or
these.
"""

from __future__ import annotations

import functools
import inspect
import os
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jaxlib.version
import numpy as np
from jax._src import core as _core
from jax._src import linear_util as _lu
from jax._src.interpreters import mlir as _mlir
from jax._src.interpreters import pxla as _pxla
from jax._src.named_sharding import UnspecifiedValue
from jax._src.sharding_impls import ShardingContext, SPMDAxisContext
from jax.errors import InconclusiveDimensionOperation
from jax.experimental.layout import Layout, with_layout_constraint
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Primitive
from jax.extend.core.primitives import conv_general_dilated_p as lax_conv_p
from jax.extend.core.primitives import transpose_p
from jax.interpreters import ad, batching, mlir

JAX_VERSION: tuple[int, ...] = jax.__version_info__
JAXLIB_VERSION: tuple[int, ...] = jaxlib.version.__version_info__

# The lines that tables, graphs and errors name are the caller's, never ours.
source_info_util.register_exclusion(os.path.dirname(__file__) + os.sep)

# --- a primitive that behaves as lax's convolution does ---------------------------------------


def twin_primitive(
    name: str,
    *,
    run: Callable[..., Any],
    replay: Callable[..., Any],
    lower_cpu: Callable[..., Any],
) -> Primitive:
    """A primitive with the types, derivatives and batching of lax's convolution.

    Args:
      name: of the primitive, as printed in a jaxpr.
      run: what an eager call does.
      replay: `replay(rule, method, *args)` calls one of lax's rules and turns every convolution it
        makes into one of ours.
      lower_cpu: the lowering rule on a CPU; every other platform lowers lax's convolution.
    """
    twin = Primitive(name)
    twin.def_impl(run)
    twin.def_abstract_eval(
        lambda *avals, method, **params: lax_conv_p.abstract_eval(*avals, **params)[0]
    )

    def transpose(side: int) -> Callable[..., Any]:
        def rule(cotangent, lhs, rhs, *, method, **params):
            unknown = ad.UndefinedPrimal((lhs, rhs)[side].aval)

            def of_lax(cotangent, known):
                operands = (unknown, known) if side == 0 else (known, unknown)
                return ad.primitive_transposes[lax_conv_p](cotangent, *operands, **params)[side]

            return replay(of_lax, method, cotangent, (lhs, rhs)[1 - side])

        return rule

    ad.defbilinear(twin, transpose(0), transpose(1))

    def batch(axis_data, args, dims, *, method, **params):
        place = []

        def of_lax(*args):
            rule = batching.fancy_primitive_batchers[lax_conv_p]
            out, dim = rule(axis_data, args, dims, **params)
            place.append(dim)
            return out

        return replay(of_lax, method, *args), place[0]

    batching.fancy_primitive_batchers[twin] = batch

    def lower_elsewhere(lhs, rhs, *, method, **params):
        return lax_conv_p.bind(lhs, rhs, **params)

    mlir.register_lowering(twin, mlir.lower_fun(lower_elsewhere, multiple_results=False))
    mlir.register_lowering(twin, lower_cpu, platform="cpu")
    _register_remat(twin)
    return twin


def transposing_primitive(name: str, lower_cpu: Callable[..., Any]) -> Primitive:
    """A primitive that does what lax's transpose does, with a CPU lowering of its own."""
    primitive = Primitive(name)

    def of_lax(x, *, permutation):
        return jax.lax.transpose(x, permutation)

    def batch(args, dims, *, permutation):
        (x,), (dim,) = args, dims
        others = [d for d in range(x.ndim) if d != dim]
        return primitive.bind(x, permutation=(dim, *(others[d] for d in permutation))), 0

    def transpose(cotangent, _, *, permutation):
        back = tuple(int(d) for d in np.argsort(permutation))
        return [primitive.bind(cotangent, permutation=back)]

    compiled = jax.jit(primitive.bind, static_argnames="permutation")

    def run(x, *, permutation):
        with jax.disable_jit(False):  # or it would call itself
            return compiled(x, permutation=permutation)

    primitive.def_impl(run)
    primitive.def_abstract_eval(lambda x, **params: transpose_p.abstract_eval(x, **params)[0])
    ad.deflinear2(primitive, transpose)
    batching.primitive_batchers[primitive] = batch
    mlir.register_lowering(primitive, mlir.lower_fun(of_lax, multiple_results=False))
    mlir.register_lowering(primitive, lower_cpu, platform="cpu")
    return primitive


def _register_remat(primitive: Primitive) -> None:
    """Let jax.checkpoint's policies see the primitive as a convolution (JAX 0.11 and newer)."""
    try:
        from jax._src.interpreters.remat import rules
    except ImportError:
        return
    if lax_conv_p not in rules:
        return
    from jax._src.ad_checkpoint import primal_left_tangent_right
    from jax._src.interpreters import partial_eval as pe

    def rule(trace, lhs, rhs, **params):
        def conv(lhs, rhs):
            return primitive.bind(lhs, rhs, **params)

        def again(_, lhs, rhs):
            return conv(lhs, rhs)

        def saved(out, lhs, rhs):
            return primal_left_tangent_right(out, conv(lhs, rhs))

        out = conv(lhs, rhs)
        if trace.policy is not None:
            policy = checkpoint_policy(trace.policy, primitive)
            case = pe.ensure_enum(policy(primitive, jax.typeof(lhs), jax.typeof(rhs), **params))
            if isinstance(case, pe.SaveableType):
                return out, out, saved
        return out, (), again

    rules[primitive] = rule


def checkpoint_policy(policy: Callable[..., Any], primitive: Primitive) -> Callable[..., Any]:
    """`policy`, asked about lax's convolution where it would be asked about `primitive`."""

    def seen(prim, *args, **params):
        if prim is primitive:
            params.pop("method", None)
            prim = lax_conv_p
        return policy(prim, *args, **params)

    return seen


def reshard_operands(lhs: Any, rhs: Any) -> tuple[Any, Any]:
    """What lax does first to the operands under an explicit mesh or inside shard_map."""
    name = "auto_insert_reshard"
    insert = getattr(_core, name if hasattr(_core, name) else "standard_insert_pvary")  # 0.10.0
    return tuple(insert(lhs, rhs))


# --- lowering --------------------------------------------------------------------------------

_CPU = _mlir._platform_specific_lowerings["cpu"]
_ORIGINAL = _CPU[lax_conv_p]


def lower_as_lax(ctx: Any, lhs: Any, rhs: Any, **params: Any) -> Any:
    """JAX's own CPU lowering of its convolution, whatever is installed now."""
    return _ORIGINAL.rule(ctx, lhs, rhs, **params)


def lower_as(fun: Callable[..., Any], ctx: Any, *args: Any) -> Any:
    """The lowering of a JAX function of one result."""
    return mlir.lower_fun(fun, multiple_results=False)(ctx, *args)


def apart(fun: Callable[..., Any], *args: Any) -> Any:
    """fun(*args), compiled as a computation of its own.

    XLA does not inline a call so marked, nor fuse what is in it with what is around it. (An
    optimization barrier does not do on a CPU: it is removed before the fusions are made.) What is
    called inside is not marked.
    """

    def unmarked(*args: Any) -> Any:
        with set_xla_metadata(inlineable=None):
            return fun(*args)

    unmarked.__name__ = getattr(fun, "__name__", "apart")
    with set_xla_metadata(inlineable="false"):
        return jax.jit(unmarked)(*args)


def exported(ctx: Any) -> bool:
    """Whether a program is lowered for `jax.export`, which refuses layout constraints."""
    return ctx.module_context.lowering_parameters.for_export


def travels(ctx: Any) -> bool:
    """Whether a program is for more than this process: exported, kept on disk, of two platforms."""
    return exported(ctx) or kept_on_disk() or tuple(ctx.module_context.platforms) != ("cpu",)


def in_plain_order(x: Any) -> Any:
    """x with its last axis the fastest in memory."""
    return with_layout_constraint(x, Layout(tuple(range(x.ndim))))


# The primitives whose CPU lowering is ours now, and the entry that was there, if any.
_replaced: dict[Primitive, Any] = {}
_PER_PLATFORM: Any = getattr(_mlir, "lower_per_platform", None)


def _with_a_list(ctx: Any, *args: Any, **kwargs: Any) -> Any:
    """JAX's lowering for several platforms, which adds a list to the types of the results.

    Of a primitive whose lowering is not cached, they are a tuple (jax.export for several platforms,
    JAX 0.10 to 0.12).
    """
    if ctx.primitive in _replaced:
        ctx = ctx.replace(avals_out=list(ctx.avals_out))
    return _PER_PLATFORM(ctx, *args, **kwargs)


def replace_cpu_lowering(primitive: Primitive, rule: Callable[..., Any]) -> None:
    """Make `rule` the CPU lowering of one of JAX's own primitives."""
    if _PER_PLATFORM is not None:
        _mlir.lower_per_platform = _with_a_list  # type: ignore[attr-defined]
    _replaced[primitive] = _CPU.get(primitive)
    mlir.register_lowering(primitive, rule, platform="cpu", cacheable=False)


def restore_cpu_lowerings() -> None:
    """Put JAX's own CPU rules back, the very entries that were there."""
    for primitive, entry in _replaced.items():
        if entry is None:
            del _CPU[primitive]
        else:
            _CPU[primitive] = entry
        _mlir._uncacheable_primitives.discard(primitive)
    _replaced.clear()
    if getattr(_mlir, "lower_per_platform", None) is _with_a_list:  # and not another's by now
        _mlir.lower_per_platform = _PER_PLATFORM  # type: ignore[attr-defined]


def lower_as_before(primitive: Primitive, ctx: Any, *args: Any, **params: Any) -> Any:
    """JAX's own lowering of a primitive whose CPU lowering was replaced."""
    entry = _replaced.get(primitive) or _mlir._lowerings[primitive]
    return entry.rule(ctx, *args, **params)


def partitioned(ctx: Any) -> bool:
    """Whether the partitioner will split this program over several devices.

    Inside a fully manual shard_map the shapes are those of one device: not partitioned.
    """
    axes = ctx.module_context.axis_context
    if isinstance(axes, ShardingContext):
        return axes.num_devices > 1
    if isinstance(axes, SPMDAxisContext):
        auto = set(axes.mesh.axis_names) - set(axes.manual_axes)
        return any(axes.mesh.shape[name] > 1 for name in auto)
    return False


def kept_on_disk() -> bool:
    """Whether JAX's persistent compilation cache is in use: programs are written to files."""
    settings = ("jax_enable_compilation_cache", "jax_compilation_cache_dir")
    return all(getattr(jax.config, name) for name in settings)


# --- compilation -----------------------------------------------------------------------------

_programs: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def add_compile_options(ctx: Any, options: Callable[[Any], dict[str, Any]]) -> None:
    """Have the program that is being lowered for the CPU compiled with `options(program)` too.

    Where the user asks for something else, that holds. JAX has no public hook: its function that
    makes a program's compile options is wrapped, once, and passes other programs on as they are.
    """
    if tuple(ctx.module_context.platforms) == ("cpu",):
        program = ctx.module_context.module
        _programs[id(program)] = program
        _wrap_compile_options(options)


@functools.cache
def _wrap_compile_options(options: Callable[[Any], dict[str, Any]]) -> None:
    original = getattr(_pxla, "create_compile_options", None)
    if original is None:
        return
    signature = inspect.signature(original)
    if not {"computation", "compiler_options"} <= signature.parameters.keys():
        return

    def create(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        program = given.arguments["computation"]
        if _programs.get(id(program)) is program:
            asked = given.arguments["compiler_options"]
            given.arguments["compiler_options"] = {**options(program), **asked}
        return original(*given.args, **given.kwargs)

    _pxla.create_compile_options = create


# --- traced programs -------------------------------------------------------------------------


def map_jaxpr(value: Any, rewrite: Callable[[Jaxpr], Jaxpr]) -> Any:
    """`value` with `rewrite` applied if it is a jaxpr, closed or not; else None."""
    if isinstance(value, Jaxpr):  # in 0.12 a closed jaxpr is a Jaxpr with constants
        return rewrite(value)
    if isinstance(value, ClosedJaxpr):
        return value.replace(jaxpr=rewrite(value.jaxpr))
    return None


def open_jaxpr(closed: Any) -> Jaxpr:
    """The jaxpr inside a closed one (0.12: itself)."""
    return closed.jaxpr if hasattr(closed, "jaxpr") else closed


def map_thunk(thunk: Any, after: Callable[[Any], Any]) -> Any:
    """A wrapped function (a custom rule kept in a jaxpr) with `after` applied to its result."""

    def call(*args):
        return after(thunk.call_wrapped(*args))

    return _lu.wrap_init(call, debug_info=thunk.debug_info)


def around_thunk(thunk: Any, around: Callable[..., Any]) -> Any:
    """A wrapped function replaced by `around(call, *args)`."""

    def call(*args):
        return around(thunk.call_wrapped, *args)

    return _lu.wrap_init(call, debug_info=thunk.debug_info)


def eval_jaxpr(closed: Any, *args: Any, keep_lines: bool = True) -> list[Any]:
    """The results of a closed jaxpr on `args`.

    What it computes comes from the lines that its equations name, or else from the caller's.
    """
    jaxpr = open_jaxpr(closed)
    return jax.core.eval_jaxpr(jaxpr, closed.consts, *args, propagate_source_info=keep_lines)


def source_of(eqn: Any) -> str:
    """Where in the user's program an equation comes from: "file.py:12", or ""."""
    from jax._src.source_info_util import user_frame

    frame = user_frame(eqn.source_info.traceback)
    return f"{frame.file_name.rsplit('/', 1)[-1]}:{frame.start_line}" if frame else ""


def name_stack_of(eqn: Any) -> str:
    """The transformations and scopes an equation was made under."""
    return str(eqn.source_info.name_stack)


def as_array(value: Any, aval: Any) -> Any:
    """What a program has for a constant, as the array that `aval` says."""
    from jax._src.lax import lax as _lax

    return _lax._convert_element_type(value, aval.dtype, aval.weak_type)


def canonical_precision(precision: Any) -> Any:
    """A precision argument as lax's primitives hold it."""
    from jax._src.lax import lax as _lax

    return _lax.canonicalize_precision(precision)


def is_jaxpr(value: Any) -> bool:
    """Whether `value` is a jaxpr, closed or not."""
    return isinstance(value, Jaxpr | ClosedJaxpr)


def is_ordinary_call(eqn: Any) -> bool:
    """Whether an equation that calls a program asks for no sharding or layout of its operands."""
    names = ("in_shardings", "out_shardings", "in_layouts", "out_layouts")
    asked = [value for name in names for value in eqn.params.get(name, ())]
    return all(value is None or isinstance(value, UnspecifiedValue) for value in asked)


def is_unsharded(aval: Any) -> bool:
    """Whether an array's type says nothing of a mesh."""
    return aval.sharding.mesh.empty


# --- sizes that are symbols (jax.export) ---------------------------------------------------------


def is_symbol(size: Any) -> bool:
    """Whether a size is a symbol, or an expression of some."""
    return _core.is_symbolic_dim(size)


def surely_less(a: Any, b: Any) -> bool:
    """Whether a < b, as far as that is known of sizes that may be symbols."""
    try:
        return bool(a < b)
    except InconclusiveDimensionOperation:
        return False


# --- autograd: equations that hold programs ---------------------------------------------------


def scan_parts(eqn: Any) -> tuple[int, int]:
    """How many operands of a scan are constants and how many are carried; the rest are scanned."""
    if "num_carry" in eqn.params:
        return eqn.params["num_consts"], eqn.params["num_carry"]
    consts, carry, _ = eqn.params["ft_in"].unpack()  # 0.12 keeps the three as trees
    return len(consts), len(carry)


def one_equation(jaxpr: Any, eqn: Any) -> Jaxpr:
    """The program that is this one equation of `jaxpr`: its operands that are no literals in."""
    invars = list(dict.fromkeys(a for a in eqn.invars if not isinstance(a, Literal)))
    return jaxpr.replace(constvars=[], invars=invars, outvars=list(eqn.outvars), eqns=[eqn])


def function_name(jaxpr: Any) -> str:
    """The name of the Python function a jaxpr was traced from, or ""."""
    info = getattr(open_jaxpr(jaxpr), "debug_info", None)
    return info.func_src_info.split(" at ")[0] if info is not None else ""
