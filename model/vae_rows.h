// Row loops of the VAE's norm: y = SiLU(x rscale gamma) or y = x rscale gamma over one row of
// channels, and their backward, in fp32 and vectorised. No torch: vae_norm.cpp calls them from many
// threads.
#pragma once

#include <cstdint>

namespace zoetrope::model::rows {

// sqrt(n) / max(|x|, 1e-12): what a row is multiplied by to have a root mean square of 1.
float rms_scale(const float* x, std::int64_t n);

void norm(float* to, const float* x, float scale, const float* gamma, std::int64_t n);
void norm_silu(float* to, const float* x, float scale, const float* gamma, std::int64_t n);

// to = gradient of x for the gradient g of the output; adds to d_gamma. `to` may not be x or g.
void norm_backward(float* to, const float* g, const float* x, float scale, const float* gamma,
                   float* d_gamma, std::int64_t n);
void norm_silu_backward(float* to, const float* g, const float* x, float scale, const float* gamma,
                        float* d_gamma, std::int64_t n);

}  // namespace zoetrope::model::rows
