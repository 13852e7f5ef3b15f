#!/usr/bin/env python3
"""Writes the golden files of the VAE tests: tiny random AutoencoderKLWan models of both kinds, and
what diffusers 0.36.0 (torch 2.11.0, fp32, chunk-by-chunk with its caches) computes with them.

    vae_tiny_21/, vae_tiny_22/   config.json, weights, cases.safetensors

cases.safetensors, for N = 1, 5, 9 frames: pixels.N, latent_mean.N, latent_logvar.N, latent.N,
decoded.N; for N = 5 also the cotangents and the gradients of sum(output * cotangent),
encode.grad.NAME and decode.grad.NAME, for the input and for every parameter."""

import pathlib

import torch
from diffusers import AutoencoderKLWan
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent
KINDS = {
    "vae_tiny_21": dict(base_dim=4, z_dim=2, dim_mult=[1, 2, 2, 2], num_res_blocks=1,
                        temperal_downsample=[False, True, True], scale_factor_spatial=8),
    "vae_tiny_22": dict(base_dim=2, decoder_base_dim=3, z_dim=3, dim_mult=[1, 1, 2, 2],
                        num_res_blocks=1, temperal_downsample=[False, True, True],
                        is_residual=True, patch_size=2, in_channels=12, out_channels=12,
                        scale_factor_spatial=16),
}


def encode_case(vae, frames, cases):
    stride = vae.config.scale_factor_spatial
    pixels = torch.rand(1, 3, frames, 2 * stride, stride) * 2 - 1
    pixels.requires_grad_(frames == 5)
    posterior = vae.encode(pixels).latent_dist
    cases |= {f"pixels.{frames}": pixels, f"latent_mean.{frames}": posterior.mean,
              f"latent_logvar.{frames}": posterior.logvar}
    if frames == 5:
        cotangents = torch.randn_like(posterior.mean), torch.randn_like(posterior.logvar)
        cases |= {"encode.cotangent_mean": cotangents[0], "encode.cotangent_logvar": cotangents[1]}
        total = (posterior.mean * cotangents[0]).sum() + (posterior.logvar * cotangents[1]).sum()
        add_gradients(vae, total, ("encode", "pixels", pixels), cases)


def decode_case(vae, frames, cases):
    latent = torch.randn(1, vae.config.z_dim, 1 + (frames - 1) // 4, 2, 1)
    latent.requires_grad_(frames == 5)
    decoded = vae.decode(latent).sample
    cases |= {f"latent.{frames}": latent, f"decoded.{frames}": decoded}
    if frames == 5:
        cases["decode.cotangent"] = torch.randn_like(decoded)
        total = (decoded * cases["decode.cotangent"]).sum()
        add_gradients(vae, total, ("decode", "latent", latent), cases)


def add_gradients(vae, total, call, cases):
    name, input_name, value = call
    vae.zero_grad()
    total.backward()
    cases[f"{name}.grad.{input_name}"] = value.grad
    for parameter_name, parameter in vae.named_parameters():
        if parameter.grad is not None:
            cases[f"{name}.grad.{parameter_name}"] = parameter.grad.clone()


def make(name, settings):
    torch.manual_seed(7)
    statistics = {key: torch.rand(settings["z_dim"]).add(0.5).tolist()
                  for key in ("latents_mean", "latents_std")}
    vae = AutoencoderKLWan(**settings, **statistics)
    with torch.no_grad():
        for parameter_name, parameter in vae.named_parameters():
            if parameter_name.endswith("gamma"):
                parameter += 0.2 * torch.randn_like(parameter)
            elif parameter_name.endswith("weight"):
                parameter *= 1.7
    vae.save_pretrained(FOLDER / name)
    cases = {}
    for frames in (1, 5, 9):
        encode_case(vae, frames, cases)
        decode_case(vae, frames, cases)
    cases = {key: value.detach().contiguous().clone() for key, value in cases.items()}
    save_file(cases, FOLDER / name / "cases.safetensors")


for kind, kind_settings in KINDS.items():
    make(kind, kind_settings)
