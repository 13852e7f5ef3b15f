// Latents to patch tokens and back: reshapes and one copy, bit for bit.
#include "model/packed.h"

#include <ATen/ops/permute.h>

#include "base/error.h"

namespace zoetrope::model {

at::Tensor patchify(const at::Tensor& latent_CTHW, const std::vector<std::int64_t>& patch,
                    Grid* grid) {
  ZOETROPE_CHECK_CONFIG(latent_CTHW.dim() == 4,
                        "a latent needs 4 dimensions (channels, frames, height, width), not ",
                        latent_CTHW.dim());
  const auto sizes = latent_CTHW.sizes();
  ZOETROPE_CHECK_CONFIG(sizes[1] > 0 && sizes[1] % patch[0] == 0 && sizes[2] > 0 &&
                            sizes[2] % patch[1] == 0 && sizes[3] > 0 && sizes[3] % patch[2] == 0,
                        "a latent of ", sizes[1], "x", sizes[2], "x", sizes[3],
                        " (frames x height x width) is not a multiple of the patch ", patch[0], "x",
                        patch[1], "x", patch[2]);
  const Grid patches{sizes[1] / patch[0], sizes[2] / patch[1], sizes[3] / patch[2]};
  if (grid != nullptr) *grid = patches;
  return latent_CTHW
      .reshape({sizes[0], patches.t, patch[0], patches.h, patch[1], patches.w, patch[2]})
      .permute({1, 3, 5, 0, 2, 4, 6})
      .reshape({patches.tokens(), sizes[0] * patch[0] * patch[1] * patch[2]});
}

at::Tensor unpatchify(const at::Tensor& tokens_TK, const Grid& grid,
                      const std::vector<std::int64_t>& patch, std::int64_t channels) {
  const std::int64_t width = patch[0] * patch[1] * patch[2] * channels;
  ZOETROPE_CHECK(
      tokens_TK.dim() == 2 && tokens_TK.size(0) == grid.tokens() && tokens_TK.size(1) == width,
      "a grid of ", grid.t, "x", grid.h, "x", grid.w, " needs tokens [", grid.tokens(), ", ", width,
      "], not ", tokens_TK.sizes());
  return tokens_TK.reshape({grid.t, grid.h, grid.w, patch[0], patch[1], patch[2], channels})
      .permute({6, 0, 3, 1, 4, 2, 5})
      .reshape({channels, grid.t * patch[0], grid.h * patch[1], grid.w * patch[2]});
}

}  // namespace zoetrope::model
