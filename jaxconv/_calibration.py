"""Coefficients of `_cost.py`, fitted by `jaxconv calibrate`. Not edited by hand."""

COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {"0.10": {}, "0.12": {}}
