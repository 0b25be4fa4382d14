"""The lecture's automatic differentiation, and tools a JAX user misses.

`add`, `split` and `max` show how an operation and its gradient belong together. `graph` shows what
a function was made of. `grad` and `value_and_grad` raise where JAX returns zeros because the way to
an argument is cut; `no_grad` cuts it. `while_loop` is a loop of data-dependent length that can be
jitted and differentiated in reverse.
"""

from jaxconv.autograd._cuts import Cut
from jaxconv.autograd._graph import Graph, Node, graph
from jaxconv.autograd._loop import while_loop
from jaxconv.autograd._no_grad import no_grad
from jaxconv.autograd._rules import add, max, split
from jaxconv.autograd._strict import NoGradientError, grad, value_and_grad

__all__ = [
    "Cut",
    "Graph",
    "NoGradientError",
    "Node",
    "add",
    "grad",
    "graph",
    "max",
    "no_grad",
    "split",
    "value_and_grad",
    "while_loop",
]
