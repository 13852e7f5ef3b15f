"""Writes tests/golden/dit_tiny: a random WanTransformer3DModel of diffusers 0.36.0 with inputs,
outputs and the gradients of sum(output * cotangent), and tests/golden/sampler: latents of
diffusers' schedulers on a fixed velocity field. Needs torch 2.11.0, diffusers 0.36.0.
Run: python make_dit_golden.py"""
import pathlib

import torch
from diffusers import (FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler,
                       WanTransformer3DModel)
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent


def tiny_model():
    torch.manual_seed(1234)
    model = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=16, in_channels=4,
        out_channels=4, text_dim=24, freq_dim=32, ffn_dim=64, num_layers=2, cross_attn_norm=True)
    with torch.no_grad():  # the fresh norms and biases would hide a missing term
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
            elif "norm" in name:
                parameter.normal_(1.0, 0.2)
    return model


def run(model, latent, timestep, text):
    """-> everything about one call: inputs, output and gradients."""
    latent.requires_grad_(True)
    text.requires_grad_(True)
    model.zero_grad(set_to_none=True)
    output = model(hidden_states=latent, timestep=timestep, encoder_hidden_states=text,
                   return_dict=False)[0]
    cotangent = torch.randn_like(output)
    (output * cotangent).sum().backward()
    tensors = dict(hidden_states=latent, timestep=timestep, encoder_hidden_states=text,
                   sample=output, cotangent=cotangent)
    tensors["grad.hidden_states"] = latent.grad
    tensors["grad.encoder_hidden_states"] = text.grad
    tensors.update({f"grad.{name}": parameter.grad for name, parameter in model.named_parameters()})
    return {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}


def dit():
    model, folder = tiny_model(), FOLDER / "dit_tiny"
    model.save_pretrained(folder)
    torch.manual_seed(5)
    batch = run(model, torch.randn(2, 4, 3, 8, 12), torch.tensor([37.5, 912.0]),
                torch.randn(2, 7, 24))
    save_file(batch, folder / "batch.safetensors")
    # One timestep a token: the first frame is clean.
    timestep = torch.full((1, 2 * 4 * 6), 640.0)
    timestep[:, :4 * 6] = 0
    save_file(run(model, torch.randn(1, 4, 2, 8, 12), timestep, torch.randn(1, 5, 24)),
              folder / "per_token.safetensors")


def velocity(x, sigma):
    """Smooth, not linear in x, and computable anywhere."""
    return torch.sin(1.7 * x) * (0.3 + sigma) + 0.5 * x * sigma - 0.2


def sampler():
    torch.manual_seed(9)
    start = torch.randn(1, 4, 16)
    tensors = {"start": start}
    for steps, shift in ((1, 3.0), (2, 3.0), (3, 1.0), (10, 5.0), (30, 3.0)):
        name = f"{steps}_{shift:g}"
        unipc = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True,
                                        flow_shift=shift)
        unipc.set_timesteps(steps)
        euler = FlowMatchEulerDiscreteScheduler(shift=1.0)
        sigmas = unipc.sigmas.double()
        euler.set_timesteps(sigmas=sigmas[:-1].tolist())
        for solver, scheduler in (("unipc", unipc), ("euler", euler)):
            x = start.clone()
            for i, timestep in enumerate(scheduler.timesteps):
                v = velocity(x, sigmas[i].float())
                x = scheduler.step(v, timestep, x, return_dict=False)[0]
            tensors[f"{solver}.{name}"] = x
        tensors[f"sigmas.{name}"] = sigmas
    (FOLDER / "sampler").mkdir(exist_ok=True)
    save_file(tensors, FOLDER / "sampler" / "solvers.safetensors")


if __name__ == "__main__":
    dit()
    sampler()
