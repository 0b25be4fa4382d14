"""The lecture's automatic differentiation, and the tools a JAX user misses."""

from jax.extend import source_info_util as _source_info_util

# The lines these tools name are the caller's, never ours.
_source_info_util.register_exclusion(__path__[0] + "/")

from jaxconv.autograd._no_grad import no_grad
from jaxconv.autograd._rules import add, max, split
from jaxconv.autograd._strict import NoGradientError, grad, value_and_grad
from jaxconv.autograd._loop import while_loop
