"""Writes nnls.json: non-negative least squares of three unknowns, solved by scipy.optimize.nnls.

Needs numpy and scipy 1.17.1. Run in this folder: python make_nnls_golden.py
"""

import json

import numpy as np
from scipy.optimize import nnls

rng = np.random.default_rng(7)
cases = []
for number in range(60):
    rows = int(rng.integers(3, 12))
    matrix = rng.uniform(0, 1, (rows, 3))
    if number % 3 == 1:  # packs: counts, tokens, tokens squared, and their noisy times
        lengths = rng.integers(64, 40000, (rows, 6)).astype(float)
        matrix = np.stack([np.full(rows, 6.0), lengths.sum(1), (lengths**2).sum(1)], axis=1)
        right = matrix @ [2e-3, 1.1e-6, 8.6e-11] * rng.normal(1, 0.02, rows)
    else:
        right = matrix @ rng.normal(0, 1, 3) + rng.normal(0, 0.3, rows)
    if number % 10 == 0:  # a column of nothing
        matrix[:, number // 10 % 3] = 0
    solution, _ = nnls(matrix, right)
    cases.append({"matrix": matrix.tolist(), "right": right.tolist(),
                  "solution": solution.tolist()})
with open("nnls.json", "w", encoding="ascii") as out:
    json.dump(cases, out)
    out.write("\n")
