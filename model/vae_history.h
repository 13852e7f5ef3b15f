// What a chunk of a clip leaves for the next one: the last frames before every convolution that
// looks back in time. With it, chunks one after another equal the whole clip at once.
#pragma once

#include <cstdint>
#include <vector>

#include <ATen/core/Tensor.h>

namespace zoetrope::model {

// Belongs to one clip (or one tile of it) and one network. Layers take their places in the order in
// which they run, which is the same for every chunk. For inference: not differentiable.
class VaeHistory {
 public:
  // Before each chunk.
  void begin_chunk();
  bool is_first_chunk() const { return chunks_ == 1; }

  // x [B, T, H, W, C]: its first `frames` frames become the last ones of the chunk before (they
  // stay as they are in the first chunk), and its own last ones are kept for the next.
  void carry(at::Tensor& x_BTHWC, std::int64_t frames);
  // A layer that does not run in this chunk keeps its place.
  void skip();

 private:
  at::Tensor& next_place();

  std::vector<at::Tensor> places_;
  std::size_t next_ = 0;
  std::int64_t chunks_ = 0;
};

}  // namespace zoetrope::model
