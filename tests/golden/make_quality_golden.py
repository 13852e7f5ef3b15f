"""Writes quality.json: PSNR and SSIM of small pictures by scikit-image 0.25.2, means over frames.

Needs numpy and scikit-image. Run in this folder: python make_quality_golden.py
"""

import json

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

rng = np.random.default_rng(11)
cases = []
for frames, height, width, noise in ((1, 11, 11, 9), (2, 16, 23, 25), (1, 20, 14, 80)):
    y, x = np.mgrid[:height, :width]
    smooth = 128 + 90 * np.sin(0.3 * x + 0.2 * y)[..., None] * np.array([1, 0.5, -0.7])
    first = np.stack([smooth + 5 * t for t in range(frames)])
    second = first + rng.normal(0, noise, first.shape)
    first, second = (np.clip(np.round(v), 0, 255).astype(np.uint8) for v in (first, second))
    ssim = np.mean([structural_similarity(a, b, channel_axis=2, gaussian_weights=True, sigma=1.5,
                                          use_sample_covariance=False, data_range=255)
                    for a, b in zip(first, second)])
    psnr = peak_signal_noise_ratio(first, second, data_range=255)
    cases.append({"height": height, "width": width, "first": first.ravel().tolist(),
                  "second": second.ravel().tolist(), "ssim": float(ssim), "psnr_db": float(psnr)})
with open("quality.json", "w", encoding="ascii") as out:
    json.dump(cases, out)
    out.write("\n")
