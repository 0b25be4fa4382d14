"""A loop whose length depends on the data: what it computes, and what its gradient tells."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from jaxconv import autograd
from jaxconv.plots._style import ThemeName, current, figure, number, themed

MOST = 100


@themed
def loop_steps(x: Any, *, limit: float = 1000.0, theme: ThemeName = "light") -> Figure:
    """Draws the lecture's loop: y = 2 x, doubled while its norm is below a limit.

    Args:
      x: (m, n): m vectors to start from, none of them zero.
      limit: of the norm.
      theme: "light" or "dark".

    Returns:
      A matplotlib `Figure`: the norm after each step, and the gradient of the sum of y, which is
      2^(i + 1) after i steps, as `autograd.while_loop` computes it.

    Raises:
      ValueError: x has not two axes, or a row takes more than 100 steps.

    Example:
      >>> from jaxconv import plots
      >>> fig = plots.loop_steps([[3.0, 4.0], [0.5, 0.0]])
    """
    x = np.asarray(x, np.float32)
    if x.ndim != 2:
        raise ValueError(f"loop_steps: x must be (m, n), a vector a row; got {x.shape}.")

    def run(x):
        return autograd.while_loop(
            lambda state: jnp.linalg.norm(state[0]) < limit,
            lambda state: (2 * state[0], state[1] + 1),
            (2 * x, 0),
            max_steps=MOST,
        )

    if not (np.linalg.norm(x, axis=1) * 2.0 ** (MOST + 1) >= limit).all():
        raise ValueError(
            f"loop_steps: every row of x must reach limit={limit} within {MOST} steps; "
            f"got norms {np.linalg.norm(x, axis=1).tolist()}."
        )
    steps = np.asarray(jax.vmap(run)(x)[1])
    slopes = np.asarray(jax.vmap(jax.grad(lambda x: run(x)[0].sum()))(x))[:, 0]
    colours = current()
    fig = figure(8.4, 3.4)
    left, right = fig.subplots(1, 2)
    left.axhline(limit, color=colours.ink, linewidth=1, linestyle=(0, (4, 3)))
    left.text(0, limit * 1.25, f"{limit:,.0f}", va="bottom")
    for row, (start, count, slope) in enumerate(zip(x, steps, slopes, strict=True)):
        colour = colours.cycle[row % 4]
        norms = np.linalg.norm(start) * 2.0 ** np.arange(1, count + 2)
        left.plot(norms, "o-", color=colour, markersize=5, linewidth=1.3)
        vector = ", ".join(number(float(v)) for v in start)
        left.annotate(
            f"i = {count}", (count, norms[-1]), xytext=(0, 8), textcoords="offset points",
            color=colour, ha="center", fontsize=9,
        )  # fmt: skip
        right.plot(count, slope, "o", color=colour, markersize=8, label=f"x = ({vector})", zorder=3)
    most = int(steps.max()) + 1
    every = np.arange(most + 1)
    right.plot(every, 2.0 ** (every + 1), color=colours.faint, linewidth=2, zorder=1)
    right.text(most, 2.0 ** (most + 0.4), "2$^{i + 1}$", color=colours.muted, ha="left", va="top")
    for axes, base in ((left, 10), (right, 2)):
        axes.set_yscale("log", base=base)
        axes.minorticks_off()
        axes.xaxis.get_major_locator().set_params(integer=True)
    left.set_xlim(-0.4, most + 1.6)
    left.set_ylim(top=limit * 8)
    left.set_xlabel("step i")
    left.set_title("norm of y")
    right.set_xlabel("steps taken, i")
    right.set_title("gradient of the sum of y")
    right.legend(frameon=False, fontsize=9, loc="upper left")
    return fig
