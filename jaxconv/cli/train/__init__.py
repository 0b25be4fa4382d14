"""``python -m jaxconv train``: a small network trained on real handwritten digits.

Read in the order `data`, `model`, `loop`; `report` and `plot` show what came out.
"""
