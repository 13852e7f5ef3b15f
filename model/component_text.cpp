// Text encoders as components: ids and mask in, last_hidden_state out.
#include "base/error.h"
#include "model/component_inputs.h"
#include "model/component_kinds.h"
#include "model/text_encoder.h"

namespace zoetrope::model {
namespace {

class TextComponent : public Component {
 public:
  TextComponent(const std::filesystem::path& folder, at::Device device, at::ScalarType compute_type)
      : encoder_(load_text_encoder(folder, device)) {
    encoder_->to(device, compute_type);
  }

  Module& module() override { return *encoder_; }

  void check(const TensorMap& inputs) const override {
    check_known(inputs, {"input_ids", "attention_mask"});
    const at::Tensor& ids = need_tensor(inputs, "input_ids", {-1, -1}, "[batch, length]");
    need_tensor(inputs, "attention_mask", ids.sizes().vec(),
                concat("[", ids.size(0), ", ", ids.size(1), "]"));
    ZOETROPE_CHECK_CONFIG(!ids.is_floating_point(), "inputs: tensor input_ids is of type ",
                          c10::toString(ids.scalar_type()), ", expected integers");
  }

  std::vector<std::pair<std::string, at::Tensor>> run(const TensorMap& inputs) override {
    const at::Tensor ids_BL = inputs.at("input_ids").to(at::kLong);
    return {{"last_hidden_state", encoder_->forward(ids_BL, inputs.at("attention_mask"))}};
  }

 private:
  std::unique_ptr<TextEncoder> encoder_;
};

}  // namespace

std::unique_ptr<Component> load_text_component(const std::filesystem::path& folder,
                                               at::Device device, at::ScalarType compute_type) {
  return std::make_unique<TextComponent>(folder, device, compute_type);
}

}  // namespace zoetrope::model
