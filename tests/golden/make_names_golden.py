"""Writes wan_names.json: names of Wan's own code -> diffusers', as diffusers 0.36.0 has it.

The names of the left are those of Wan's own modules (wan/modules/model.py); the right ones must be
exactly the state of a WanTransformer3DModel. Run: python tests/golden/make_names_golden.py
"""
import json
import pathlib

import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders import lora_conversion_utils, single_file_utils


def native_names(layers: int) -> list[str]:
    both = ['weight', 'bias']
    names = [f'{m}.{p}' for m in ('patch_embedding', 'text_embedding.0', 'text_embedding.2',
                                  'time_embedding.0', 'time_embedding.2', 'time_projection.1',
                                  'head.head') for p in both]
    names.append('head.modulation')
    for i in range(layers):
        block = f'blocks.{i}.'
        names.append(block + 'modulation')
        for attention in ('self_attn', 'cross_attn'):
            names += [f'{block}{attention}.{m}.{p}' for m in 'qkvo' for p in both]
            names += [f'{block}{attention}.{m}.weight' for m in ('norm_q', 'norm_k')]
        names += [f'{block}{m}.{p}' for m in ('norm3', 'ffn.0', 'ffn.2') for p in both]
    return names


def translate(name: str) -> str:
    return next(iter(single_file_utils.convert_wan_transformer_to_diffusers({name: 0})))


def lora_names(prefix: str, underscored: bool, layers: int, convert) -> dict[str, str]:
    """Name of an adapter's A -> diffusers' name, for all layers of the blocks."""
    state, expected, result = {}, {}, {}
    layer_names = [f'blocks.{i}.{layer}' for i in range(layers)
                   for layer in [f'{a}.{m}' for a in ('self_attn', 'cross_attn') for m in 'qkvo']
                   + ['ffn.0', 'ffn.2']]
    for number, name in enumerate(layer_names):
        name = prefix + (name.replace('.', '_') if underscored else name)
        state[f'{name}.lora_down.weight'] = torch.full((2, 3), float(number))
        state[f'{name}.lora_up.weight'] = torch.full((3, 2), float(number))
        state[f'{name}.alpha'] = torch.tensor(2.0)
        expected[float(number)] = f'{name}.lora_down.weight'
    for key, value in convert(state).items():
        if 'lora_A' in key:
            result[expected[value.flatten()[0].item()]] = key
    assert len(result) == len(layer_names)
    return result


def main() -> None:
    layers = 2
    model = WanTransformer3DModel(num_attention_heads=1, attention_head_dim=12, in_channels=4,
                                  out_channels=4, text_dim=8, freq_dim=8, ffn_dim=16,
                                  num_layers=layers, rope_max_seq_len=16)
    names = {name: translate(name) for name in native_names(layers)}
    assert set(names.values()) == set(model.state_dict()), 'not the names of the model'
    wan_lora = lora_conversion_utils._convert_non_diffusers_wan_lora_to_diffusers
    golden = {
        'tensors': names,
        'comfy_lora': lora_names('diffusion_model.', False, layers, wan_lora),
        'musubi_lora': lora_names('lora_unet_', True, layers,
                                  lora_conversion_utils._convert_musubi_wan_lora_to_diffusers),
    }
    path = pathlib.Path(__file__).with_name('wan_names.json')
    path.write_text(json.dumps(golden, indent=1, sort_keys=True) + '\n')
    print(path, len(names), len(golden['comfy_lora']), len(golden['musubi_lora']))


if __name__ == '__main__':
    main()
