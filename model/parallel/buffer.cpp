// Element types that both sides know.
#include "model/parallel/buffer.h"

#include "base/error.h"

namespace zoetrope::model {

launch::Buffer buffer_of(const at::Tensor& tensor) {
  const auto type = tensor.scalar_type();
  ZOETROPE_CHECK(type == at::kFloat || type == at::kBFloat16 || type == at::kDouble,
                 "ranks exchange fp32, bf16 and fp64, not ", c10::toString(type));
  ZOETROPE_CHECK(tensor.is_contiguous(), "ranks exchange contiguous tensors");
  return {tensor.data_ptr(), static_cast<std::size_t>(tensor.numel()),
          type == at::kFloat      ? launch::Element::kFloat
          : type == at::kBFloat16 ? launch::Element::kBFloat16
                                  : launch::Element::kDouble,
          tensor.is_cuda()};
}

}  // namespace zoetrope::model
