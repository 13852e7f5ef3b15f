// The packed form of a batch: samples of any size one after another in one token sequence, no
// padding.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// Patches of one sample along time, height and width; tokens are flattened in this order.
struct Grid {
  std::int64_t t = 0, h = 0, w = 0;
  std::int64_t tokens() const { return t * h * w; }
};

// What the DiT sees. S segments (samples), T tokens over all segments, U modulation rows.
struct DitInput {
  at::Tensor patches_TK;    // K = channels * patch volume, order (c, pt, ph, pw), fp32
  std::vector<Grid> grids;  // S
  at::Tensor timesteps_U;   // fp32, 0..1000; one per unique (segment, timestep)
  std::vector<std::int64_t>
      row_of_segment;         // S: row of all tokens of a segment, or -1: see row_of_token
  at::Tensor row_of_token_T;  // int64, undefined when every segment has one row
  at::Tensor text_LE;         // states of all segments' texts one after another
  std::vector<std::int64_t> text_lengths;  // S, each >= 1
};

// latent [C, T, H, W] -> [t*h*w, C*pt*ph*pw] in patch order (c, pt, ph, pw), tokens in order (t, h,
// w). Throws ConfigError with the numbers when a size is not a multiple of the patch.
at::Tensor patchify(const at::Tensor& latent_CTHW, const std::vector<std::int64_t>& patch,
                    Grid* grid);
// [t*h*w, pt*ph*pw*C] in the head's order (pt, ph, pw, c) -> [C, T, H, W].
at::Tensor unpatchify(const at::Tensor& tokens_TK, const Grid& grid,
                      const std::vector<std::int64_t>& patch, std::int64_t channels);

}  // namespace zoetrope::model
