// WanTransformer3DModel as a component: batches and packs of latents become one packed sequence.
// B samples, C channels, T frames, L text tokens, D text width.
#include "model/component_kinds.h"

#include <ATen/ops/_unique2.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include "base/error.h"
#include "model/component_inputs.h"
#include "model/dit.h"

namespace zoetrope::model {
namespace {

// One sample under the names that its tensors have in the file.
struct SampleNames {
  std::string latent, timestep, text;
};

class DitComponent : public Component {
 public:
  DitComponent(const std::filesystem::path& folder, at::Device device, at::ScalarType compute_type)
      : dit_(load_dit(folder, device)), compute_type_(compute_type) {}

  Module& module() override { return *dit_; }

  void check(const TensorMap& inputs) const override {
    const std::int64_t packed = count_numbered(inputs, "hidden_states");
    if (packed == 0) return check_batch(inputs);
    std::vector<std::string> known;
    for (std::int64_t i = 0; i < packed; ++i) {
      const SampleNames names = names_of(i);
      known.insert(known.end(), {names.latent, names.timestep, names.text});
      const at::Tensor& latent =
          need_tensor(inputs, names.latent, {config().in_channels, -1, -1, -1},
                      concat("[", config().in_channels, ", frames, height, width]"));
      check_timestep(inputs, names.timestep, {}, tokens_of(names.latent, latent.sizes()));
      need_tensor(inputs, names.text, {-1, config().text_dim},
                  concat("[length, ", config().text_dim, "]"));
    }
    check_known(inputs, known);
  }

  std::vector<std::pair<std::string, at::Tensor>> run(const TensorMap& inputs) override {
    const std::int64_t packed = count_numbered(inputs, "hidden_states");
    std::vector<at::Tensor> latents, timesteps, texts;
    if (packed == 0) {
      latents = inputs.at("hidden_states").unbind(0);
      texts = inputs.at("encoder_hidden_states").unbind(0);
      for (const at::Tensor& t : inputs.at("timestep").unbind(0))
        timesteps.push_back(t.reshape({-1}));
    }
    for (std::int64_t i = 0; i < packed; ++i) {
      const SampleNames names = names_of(i);
      latents.push_back(inputs.at(names.latent));
      timesteps.push_back(inputs.at(names.timestep));
      texts.push_back(inputs.at(names.text));
    }
    const std::vector<at::Tensor> samples = denoise(latents, timesteps, texts);
    if (packed == 0) return {{"sample", at::stack(samples)}};
    std::vector<std::pair<std::string, at::Tensor>> outputs;
    for (std::int64_t i = 0; i < packed; ++i)
      outputs.emplace_back(concat("sample.", i), samples[i]);
    return outputs;
  }

 private:
  const DitConfig& config() const { return dit_->config(); }

  static SampleNames names_of(std::int64_t i) {
    return {concat("hidden_states.", i), concat("timestep.", i),
            concat("encoder_hidden_states.", i)};
  }

  void check_batch(const TensorMap& inputs) const {
    check_known(inputs, {"hidden_states", "timestep", "encoder_hidden_states"});
    const at::Tensor& latent =
        need_tensor(inputs, "hidden_states", {-1, config().in_channels, -1, -1, -1},
                    concat("[batch, ", config().in_channels, ", frames, height, width]"));
    const std::int64_t batch = latent.size(0);
    check_timestep(inputs, "timestep", {batch},
                   tokens_of("hidden_states", latent.sizes().slice(1)));
    need_tensor(inputs, "encoder_hidden_states", {batch, -1, config().text_dim},
                concat("[", batch, ", length, ", config().text_dim, "]"));
  }

  // Patches of a latent of `sizes` [C, T, H, W].
  std::int64_t tokens_of(const std::string& name, at::IntArrayRef sizes) const {
    const auto& patch = config().patch_size;
    for (int axis = 0; axis < 3; ++axis) {
      ZOETROPE_CHECK_CONFIG(sizes[axis + 1] % patch[axis] == 0, "inputs: tensor ", name, " has ",
                            sizes[1], "x", sizes[2], "x", sizes[3],
                            " (frames x height x width), not a multiple of the patch ", patch[0],
                            "x", patch[1], "x", patch[2]);
    }
    return sizes[1] * sizes[2] * sizes[3] / config().patch_volume();
  }

  // One timestep a sample, or one a token. `batch` is {B}, or {} when packed.
  static void check_timestep(const TensorMap& inputs, const std::string& name,
                             std::vector<std::int64_t> batch, std::int64_t tokens) {
    const auto found = inputs.find(name);
    const bool for_tokens = found != inputs.end() && found->second.dim() > 0 &&
                            found->second.size(-1) == tokens &&
                            found->second.dim() == static_cast<std::int64_t>(batch.size()) + 1;
    const std::string expected = batch.empty()
                                     ? concat("[1] or [", tokens, "]")
                                     : concat("[", batch[0], "] or [", batch[0], ", ", tokens, "]");
    if (for_tokens) {
      batch.push_back(tokens);
    } else if (batch.empty()) {
      batch = {1};
    }
    need_tensor(inputs, name, batch, expected);
  }

  std::vector<at::Tensor> denoise(const std::vector<at::Tensor>& latents_CTHW,
                                  const std::vector<at::Tensor>& timesteps,
                                  const std::vector<at::Tensor>& texts_LD) {
    DitInput input;
    std::vector<at::Tensor> patches;
    for (const at::Tensor& latent : latents_CTHW) {
      patches.push_back(patchify(latent, config().patch_size, &input.grids.emplace_back()));
    }
    for (const at::Tensor& text : texts_LD) input.text_lengths.push_back(text.size(0));
    input.patches_TK = at::cat(patches);
    input.text_LE = at::cat(texts_LD);
    set_timesteps(timesteps, input);
    const at::Tensor out_TK = dit_->forward(input, compute_type_);
    std::vector<at::Tensor> samples;
    std::int64_t first = 0;
    for (const Grid& grid : input.grids) {
      samples.push_back(unpatchify(out_TK.narrow(0, first, grid.tokens()), grid,
                                   config().patch_size, config().out_channels));
      first += grid.tokens();
    }
    return samples;
  }

  // A modulation row for each sample or, where a sample has a timestep a token, for each different
  // timestep: equal ones may share a row unless each of them wants its own gradient.
  static void set_timesteps(const std::vector<at::Tensor>& timesteps, DitInput& input) {
    const at::Tensor all = at::cat(timesteps).to(at::kFloat);
    const bool one_each = all.size(0) == static_cast<std::int64_t>(timesteps.size());
    std::vector<at::Tensor> index_of_token;
    std::int64_t first = 0;
    for (std::size_t s = 0; s < timesteps.size(); ++s) {
      const std::int64_t count = timesteps[s].size(0), tokens = input.grids[s].tokens();
      const at::Tensor own = at::arange(first, first + count, all.options().dtype(at::kLong));
      index_of_token.push_back(count == 1 ? own.expand({tokens}) : own);
      input.row_of_segment.push_back(one_each ? first : -1);
      first += count;
    }
    input.timesteps_U = all;
    if (one_each) return;
    input.row_of_token_T = at::cat(index_of_token);
    if (all.requires_grad()) return;
    const auto [values, row_of_value, counts] = at::_unique2(all, true, true);
    input.timesteps_U = values;
    input.row_of_token_T = row_of_value.index_select(0, input.row_of_token_T);
  }

  std::unique_ptr<Dit> dit_;
  at::ScalarType compute_type_;
};

}  // namespace

std::unique_ptr<Component> load_dit_component(const std::filesystem::path& folder,
                                              at::Device device, at::ScalarType compute_type) {
  return std::make_unique<DitComponent>(folder, device, compute_type);
}

}  // namespace zoetrope::model
