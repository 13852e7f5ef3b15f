// AutoencoderKLWan as a component: encodes `sample`, decodes `latent`.
#include "base/error.h"
#include "model/component_inputs.h"
#include "model/component_kinds.h"
#include "model/vae.h"

namespace zoetrope::model {
namespace {

class VaeComponent : public Component {
 public:
  VaeComponent(const std::filesystem::path& folder, at::Device device, at::ScalarType compute_type)
      : vae_(load_vae(folder, device)), compute_type_(compute_type) {}

  Module& module() override { return *vae_; }

  void check(const TensorMap& inputs) const override {
    check_known(inputs, {"sample", "latent"});
    ZOETROPE_CHECK_CONFIG(inputs.contains("sample") || inputs.contains("latent"),
                          "inputs: tensor sample or latent is missing");
    if (inputs.contains("sample")) check_sample(inputs);
    const std::int64_t z = vae_->config().z_dim;
    if (inputs.contains("latent")) {
      need_tensor(inputs, "latent", {-1, z, -1, -1, -1},
                  concat("[batch, ", z, ", frames, height, width]"));
    }
  }

  std::vector<std::pair<std::string, at::Tensor>> run(const TensorMap& inputs) override {
    std::vector<std::pair<std::string, at::Tensor>> outputs;
    if (inputs.contains("sample")) {
      const Posterior posterior = vae_->encode(inputs.at("sample"), compute_type_);
      outputs = {{"latent_mean", posterior.mean}, {"latent_logvar", posterior.logvar}};
    }
    if (inputs.contains("latent")) {
      outputs.emplace_back("decoded", vae_->decode(inputs.at("latent"), true, compute_type_));
    }
    return outputs;
  }

 private:
  void check_sample(const TensorMap& inputs) const {
    const int time = vae_->config().time_stride(), space = vae_->config().space_stride();
    const at::Tensor& sample =
        need_tensor(inputs, "sample", {-1, 3, -1, -1, -1}, "[batch, 3, frames, height, width]");
    const bool fits = sample.size(2) % time == 1 % time && sample.size(3) % space == 0 &&
                      sample.size(4) % space == 0;
    ZOETROPE_CHECK_CONFIG(fits, "inputs: tensor sample has ", sample.size(2), "x", sample.size(3),
                          "x", sample.size(4), " (frames x height x width), expected frames 1 + k*",
                          time, ", height and width multiples of ", space);
  }

  std::unique_ptr<Vae> vae_;
  at::ScalarType compute_type_;
};

}  // namespace

std::unique_ptr<Component> load_vae_component(const std::filesystem::path& folder,
                                              at::Device device, at::ScalarType compute_type) {
  return std::make_unique<VaeComponent>(folder, device, compute_type);
}

}  // namespace zoetrope::model
