"""Writes lpips/: a VGG16 of small random widths with LPIPS' linear layers, and the distance of two
clips with its gradient, computed as the LPIPS paper's code does (scaling layer, five slices,
unit-normalised features, squared differences, 1 x 1 linear layers, means over pixels) in torch
2.11.0, fp64.

Needs torch and safetensors. Run in this folder: python make_lpips_golden.py
"""

import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent / "lpips"
LAYERS = [4, 4, "M", 4, 6, "M", 6, 6, 6, "M", 8, 8, 8, "M", 8, 8, 8]  # torchvision's VGG16, narrow
torch.manual_seed(3)
weights = {}
place, width, slice_widths = 0, 3, []
for layer in LAYERS:
    if layer == "M":
        slice_widths.append(width)
        place += 1
        continue
    weights[f"features.{place}.weight"] = torch.randn(layer, width, 3, 3) * (2 / (9 * width)) ** 0.5
    weights[f"features.{place}.bias"] = torch.randn(layer) * 0.1
    width, place = layer, place + 2
slice_widths.append(width)
for i, channels in enumerate(slice_widths):
    weights[f"lin{i}.model.1.weight"] = torch.rand(1, channels, 1, 1)
weights["classifier.0.bias"] = torch.zeros(2)  # torchvision's file has layers that nobody reads


def features(x):
    shift = torch.tensor([-0.030, -0.088, -0.188]).double().view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).double().view(1, 3, 1, 1)
    x, at, slices = (x - shift) / scale, 0, []
    for layer in LAYERS:
        if layer == "M":
            slices.append(x)
            x, at = F.max_pool2d(x, 2), at + 1
            continue
        x = F.relu(F.conv2d(x, weights[f"features.{at}.weight"].double(),
                            weights[f"features.{at}.bias"].double(), padding=1))
        at += 2
    return slices + [x]


def normalised(x):
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10)


pixels = torch.rand(2, 3, 3, 32, 48) * 2 - 1
reconstruction = (pixels + 0.3 * torch.randn_like(pixels)).requires_grad_()
flat = [v.double().transpose(1, 2).flatten(0, 1) for v in (pixels, reconstruction)]
total = 0
for i, (a, b) in enumerate(zip(*map(features, flat))):
    error = (normalised(a) - normalised(b)).square()
    total = total + F.conv2d(error, weights[f"lin{i}.model.1.weight"].double()).mean((2, 3))
total.mean().backward()
FOLDER.mkdir(exist_ok=True)
save_file(weights, FOLDER / "vgg_tiny.safetensors")
save_file({"pixels": pixels, "reconstruction": reconstruction.detach().clone(),
           "distance": total.mean().detach().float().reshape(1),
           "gradient": reconstruction.grad}, FOLDER / "case.safetensors")
