"""The convolution of a Form by its definition: float64 NumPy, a loop over taps, not ours."""

import numpy as np


def spread(n, step):
    return 0 if n == 0 else (n - 1) * step + 1


def padded(x, form):
    """x with its dilation and its padding written out; a negative padding crops."""
    shape = [spread(n, d) for n, d in zip(form.spatial, form.lhs_dilation)]
    out = np.zeros((x.shape[0], *shape, x.shape[-1]))
    out[(slice(None), *(slice(None, None, d) for d in form.lhs_dilation))] = x
    for axis, (lo, hi) in enumerate(form.padding, 1):
        out = out.take(range(max(0, -lo), out.shape[axis] - max(0, -hi)), axis)
        width = [(0, 0)] * out.ndim
        width[axis] = (max(0, lo), max(0, hi))
        out = np.pad(out, width)
    return out


def convolution(x, other, form):
    """y of a forward form (other = w), or w of a weight form (other = y)."""
    x, other = padded(np.float64(x), form), np.float64(other)
    groups, c, o = form.groups, form.in_channels, form.out_channels
    out = np.zeros(form.y_shape if form.kind == "forward" else form.w_shape)
    for tap in np.ndindex(*form.kernel):
        places = tuple(
            slice(k * d, k * d + (n - 1) * s + 1, s)
            for k, d, n, s in zip(tap, form.dilation, form.out_spatial, form.strides)
        )
        seen = x[(slice(None), *places)]
        for g in range(groups):
            part, mine = seen[..., g * c : (g + 1) * c], slice(g * o, (g + 1) * o)
            if form.kind == "forward":
                out[..., mine] += part @ other[tap][:, mine]
            else:
                axes = tuple(range(part.ndim - 1))
                out[tap][:, mine] += np.tensordot(part, other[..., mine], (axes, axes))
    return out
