// Places are made during the first chunk and found again by order.
#include "model/vae_history.h"

#include "base/error.h"

namespace zoetrope::model {

void VaeHistory::begin_chunk() {
  ZOETROPE_CHECK(next_ == places_.size(), "a chunk ran ", next_, " of ", places_.size(),
                 " layers that look back in time");
  next_ = 0;
  ++chunks_;
}

at::Tensor& VaeHistory::next_place() {
  if (is_first_chunk()) places_.emplace_back();
  ZOETROPE_CHECK(next_ < places_.size(), "a chunk runs more layers than the first one did");
  return places_[next_++];
}

void VaeHistory::carry(at::Tensor& x_BTHWC, std::int64_t frames) {
  at::Tensor& place = next_place();
  if (place.defined()) x_BTHWC.narrow(1, 0, frames).copy_(place);
  place = x_BTHWC.narrow(1, x_BTHWC.size(1) - frames, frames).clone();
}

void VaeHistory::skip() {
  next_place();
}

}  // namespace zoetrope::model
