// Checks of named input tensors.
#include "model/component_inputs.h"

#include <algorithm>

#include "base/error.h"
#include "base/options.h"

namespace zoetrope::model {

const at::Tensor& need_tensor(const TensorMap& inputs, const std::string& name,
                              const std::vector<std::int64_t>& shape, const std::string& expected) {
  const auto found = inputs.find(name);
  ZOETROPE_CHECK_CONFIG(found != inputs.end(), "inputs: tensor ", name, " ", expected,
                        " is missing");
  const auto sizes = found->second.sizes();
  const bool fits = sizes.size() == shape.size() &&
                    std::equal(shape.begin(), shape.end(), sizes.begin(), [](auto want, auto got) {
                      return want < 0 ? got >= 1 : want == got;
                    });
  ZOETROPE_CHECK_CONFIG(fits, "inputs: tensor ", name, " has shape ", sizes, ", expected ",
                        expected);
  return found->second;
}

void check_known(const TensorMap& inputs, const std::vector<std::string>& known) {
  for (const auto& [name, tensor] : inputs) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    const std::string near = nearest_name(name, known);
    throw ConfigError(concat("inputs: unknown tensor ", name,
                             near.empty() ? "" : concat("; did you mean ", near, "?")));
  }
}

std::int64_t count_numbered(const TensorMap& inputs, const std::string& name) {
  std::int64_t count = 0;
  while (inputs.contains(concat(name, ".", count))) ++count;
  return count;
}

}  // namespace zoetrope::model
