// The transformer's parameters and its forward pass. diffusers' transformer_wan.py is the
// reference; the residual stream stays in fp32 as in Wan's own code. t own tokens, T joint ones
// (model/parallel/token_plan.h), D width, N heads, n of this rank, H head width, U modulation rows,
// L text tokens, E text width
#include "model/dit.h"

#include <cmath>

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/silu.h>

#include "base/error.h"
#include "model/attention.h"
#include "model/gelu.h"
#include "model/linear.h"
#include "model/norms.h"
#include "model/parallel/sequence.h"
#include "model/recompute.h"
#include "model/selective.h"

namespace zoetrope::model {
namespace {

constexpr double kMaxPeriod = 10000;
const std::string kBlocks = "blocks.";

at::Tensor parameter(at::IntArrayRef shape, at::Device device) {
  return at::empty(shape, at::TensorOptions().dtype(at::kFloat).device(device));
}

// [U] -> [U, freq_dim]: cosines, then sines, of t 10000^(-i / half).
at::Tensor sinusoids(const at::Tensor& timesteps_U, std::int64_t freq_dim) {
  const std::int64_t half = freq_dim / 2;
  const at::Tensor steps = at::arange(half, timesteps_U.options().dtype(at::kFloat));
  const at::Tensor frequencies =
      at::exp(steps * (-std::log(kMaxPeriod)) / static_cast<double>(half));
  const at::Tensor angles = timesteps_U.to(at::kFloat).unsqueeze(1) * frequencies.unsqueeze(0);
  return at::cat({angles.cos(), angles.sin()}, 1);
}

void check_input(const DitInput& input, const DitConfig& config) {
  const std::size_t segments = input.grids.size();
  ZOETROPE_CHECK(segments > 0, "a batch without samples");
  ZOETROPE_CHECK(input.row_of_segment.size() == segments && input.text_lengths.size() == segments,
                 segments, " samples, but ", input.row_of_segment.size(), " modulation rows and ",
                 input.text_lengths.size(), " texts");
  std::int64_t tokens = 0, text = 0;
  for (std::size_t s = 0; s < segments; ++s) {
    const std::int64_t row = input.row_of_segment[s];
    tokens += input.grids[s].tokens();
    text += input.text_lengths[s];
    ZOETROPE_CHECK(input.grids[s].tokens() > 0, "sample ", s, " has no tokens");
    ZOETROPE_CHECK(input.text_lengths[s] >= 1, "sample ", s, " has a text of ",
                   input.text_lengths[s], " tokens");
    ZOETROPE_CHECK(row < input.timesteps_U.size(0), "sample ", s, " uses modulation row ", row,
                   " of ", input.timesteps_U.size(0));
    ZOETROPE_CHECK(row >= 0 || input.row_of_token_T.defined(), "sample ", s,
                   " has a modulation row per token, but row_of_token_T is not given");
  }
  const std::int64_t patch_width = config.in_channels * config.patch_volume();
  ZOETROPE_CHECK(input.patches_TK.dim() == 2 && input.patches_TK.size(0) == tokens &&
                     input.patches_TK.size(1) == patch_width,
                 "the samples' grids need patches [", tokens, ", ", patch_width, "], not ",
                 input.patches_TK.sizes());
  ZOETROPE_CHECK(input.text_LE.dim() == 2 && input.text_LE.size(0) == text &&
                     input.text_LE.size(1) == config.text_dim,
                 "the samples' texts need states [", text, ", ", config.text_dim, "], not ",
                 input.text_LE.sizes());
  ZOETROPE_CHECK(!input.row_of_token_T.defined() || input.row_of_token_T.numel() == tokens, tokens,
                 " tokens, but row_of_token_T has ", input.row_of_token_T.numel());
}

struct Attention {
  Linear to_q, to_k, to_v, to_out;
  at::Tensor norm_q, norm_k;  // undefined without qk_norm

  Attention(const DitConfig& config, at::Device device)
      : to_q(config.width(), config.width(), true, device),
        to_k(config.width(), config.width(), true, device),
        to_v(config.width(), config.width(), true, device),
        to_out(config.width(), config.width(), true, device) {
    if (!config.qk_norm) return;
    norm_q = parameter({config.width()}, device);
    norm_k = parameter({config.width()}, device);
  }

  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
    to_q.visit_parameters(prefix + "to_q.", visit);
    to_k.visit_parameters(prefix + "to_k.", visit);
    to_v.visit_parameters(prefix + "to_v.", visit);
    to_out.visit_parameters(prefix + "to_out.0.", visit);
    if (!norm_q.defined()) return;
    visit(prefix + "norm_q.weight", norm_q);
    visit(prefix + "norm_k.weight", norm_k);
  }

  // attend(q, k, v) -> out, all [tokens, n, H]. Queries are joint tokens, keys those or texts; the
  // result is own tokens.
  template <class Attend>
  at::Tensor operator()(const at::Tensor& queries_TD, const at::Tensor& keys_SD,
                        const Rotation* rotation, const DitConfig& config, const TokenPlan& plan,
                        const Attend& attend) const {
    const std::int64_t heads = to_q.weight.size(0) / config.attention_head_dim;
    const auto split = [&](const at::Tensor& x) {
      return x.view({x.size(0), heads, config.attention_head_dim});
    };
    const auto normalise = [&](const at::Tensor& x, const at::Tensor& weight) {
      return shared_rms_norm_rotate(x, weight, rotation, heads, config.width(), config.eps, plan);
    };
    const at::Tensor q_TD = normalise(to_q(queries_TD), norm_q);
    const at::Tensor k_SD = normalise(to_k(keys_SD), norm_k);
    const at::Tensor out_TNH = attend(split(q_TD), split(k_SD), split(to_v(keys_SD)));
    return scatter_linear(to_out, out_TNH.flatten(1), plan);
  }
};

}  // namespace

// What all blocks share in one forward pass.
struct Dit::Conditions {
  explicit Conditions(const TokenPlan& tokens) : plan(tokens) {}

  at::ScalarType compute_type;
  ModulationRows rows;        // of the samples' timesteps
  ModulationRows single_row;  // of affine norms: every token uses row 0
  Rotation rotation;
  TokenPlan plan;
  std::vector<std::int64_t> lengths, text_lengths;  // of the samples with joint tokens here
  at::Tensor time_UD;                               // the head's
  at::Tensor time_U6D;                              // the blocks'
  at::Tensor text_LD;
};

struct Dit::Block {
  Attention attn1, attn2;
  at::Tensor norm2_weight, norm2_bias;  // undefined without cross_attn_norm
  Linear ffn_in, ffn_out;
  at::Tensor scale_shift_table;  // [1, 6, D]

  Block(const DitConfig& config, at::Device device)
      : attn1(config, device),
        attn2(config, device),
        ffn_in(config.width(), config.ffn_dim, true, device),
        ffn_out(config.ffn_dim, config.width(), true, device),
        scale_shift_table(parameter({1, 6, config.width()}, device)) {
    if (!config.cross_attn_norm) return;
    norm2_weight = parameter({config.width()}, device);
    norm2_bias = parameter({config.width()}, device);
  }

  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
    visit(prefix + "scale_shift_table", scale_shift_table);
    attn1.visit_parameters(prefix + "attn1.", visit);
    attn2.visit_parameters(prefix + "attn2.", visit);
    if (norm2_weight.defined()) {
      visit(prefix + "norm2.weight", norm2_weight);
      visit(prefix + "norm2.bias", norm2_bias);
    }
    ffn_in.visit_parameters(prefix + "ffn.net.0.proj.", visit);
    ffn_out.visit_parameters(prefix + "ffn.net.2.", visit);
  }

  at::Tensor cross_attention_input(const at::Tensor& x_tD, const Conditions& c, double eps) const {
    if (!norm2_weight.defined()) return x_tD.to(c.compute_type);
    return modulated_layer_norm(x_tD, norm2_weight.unsqueeze(0), norm2_bias.unsqueeze(0),
                                c.single_row, eps, c.compute_type);
  }

  // Conditions with a gradient are arguments: recomputation gives them as leaves.
  at::Tensor operator()(at::Tensor x_tD, const at::Tensor& time_U6D, const at::Tensor& all_text_LD,
                        const Conditions& c, const DitConfig& config) const {
    // Keys' and values' gradients are summed here, before they join the other blocks': one order
    // of summation with and without recomputation.
    const at::Tensor text_LD = all_text_LD.view_as(all_text_LD);
    // shift, scale, gate of self-attention, then of the MLP
    const auto m = (scale_shift_table + time_U6D).unbind(1);
    const at::Tensor h_TD = gather_tokens(
        modulated_layer_norm(x_tD, m[1] + 1, m[0], c.rows, config.eps, c.compute_type), c.plan);
    const at::Tensor self_tD = attn1(h_TD, h_TD, &c.rotation, config, c.plan,
                                     [&](const auto& q, const auto& k, const auto& v) {
                                       return sequence_attention(q, k, v, c.plan);
                                     });
    x_tD = gated_residual(x_tD, self_tD, m[2], c.rows);

    const at::Tensor c_TD = gather_tokens(cross_attention_input(x_tD, c, config.eps), c.plan);
    const at::Tensor cross_tD = attn2(c_TD, text_LD, nullptr, config, c.plan,
                                      [&](const auto& q, const auto& k, const auto& v) {
                                        return packed_attention(q, k, v, c.lengths, c.text_lengths);
                                      });
    x_tD = residual_sum(x_tD, cross_tD);

    const at::Tensor f_TD = gather_tokens(
        modulated_layer_norm(x_tD, m[4] + 1, m[3], c.rows, config.eps, c.compute_type), c.plan);
    const at::Tensor inner_TD = ffn_in.lora_down.defined()
                                    ? tanh_gelu(ffn_in(f_TD))
                                    : linear_gelu(f_TD, ffn_in.weight, ffn_in.bias);
    return gated_residual(x_tD, scatter_linear(ffn_out, inner_TD, c.plan), m[5], c.rows);
  }
};

Dit::Dit(const DitConfig& config, at::Device device, const TensorPlace& place)
    : config_(config),
      place_(place),
      rotary_(config.attention_head_dim),
      patch_embedding_(config.in_channels * config.patch_volume(), config.width(), true, device),
      text_in_(config.text_dim, config.width(), true, device),
      text_out_(config.width(), config.width(), true, device),
      time_in_(config.freq_dim, config.width(), true, device),
      time_out_(config.width(), config.width(), true, device),
      time_proj_(config.width(), 6 * config.width(), true, device),
      proj_out_(config.width(), config.out_channels * config.patch_volume(), true, device),
      scale_shift_table_(parameter({1, 2, config.width()}, device)) {
  const auto& patch = config.patch_size;
  patch_embedding_.weight =
      parameter({config.width(), config.in_channels, patch[0], patch[1], patch[2]}, device);
  blocks_.reserve(config.num_layers);
  for (std::int64_t i = 0; i < config.num_layers; ++i) blocks_.emplace_back(config, device);
  visit_parameters("", [&](const std::string& name, at::Tensor& whole) {
    if (!part_of(name).is_whole()) whole = parameter(part_of(name).of(whole).sizes(), device);
  });
}

Dit::~Dit() = default;

void Dit::visit_parameters(const std::string& prefix, const ParameterVisitor& visit) {
  visit(prefix + "scale_shift_table", scale_shift_table_);
  patch_embedding_.visit_parameters(prefix + "patch_embedding.", visit);
  time_in_.visit_parameters(prefix + "condition_embedder.time_embedder.linear_1.", visit);
  time_out_.visit_parameters(prefix + "condition_embedder.time_embedder.linear_2.", visit);
  time_proj_.visit_parameters(prefix + "condition_embedder.time_proj.", visit);
  text_in_.visit_parameters(prefix + "condition_embedder.text_embedder.linear_1.", visit);
  text_out_.visit_parameters(prefix + "condition_embedder.text_embedder.linear_2.", visit);
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    blocks_[i].visit_parameters(prefix + kBlocks + std::to_string(i) + ".", visit);
  }
  proj_out_.visit_parameters(prefix + "proj_out.", visit);
}

void Dit::visit_linears(const LinearVisitor& visit) {
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    Block& block = blocks_[i];
    const std::string prefix = kBlocks + std::to_string(i) + ".";
    for (const auto& [name, attention] :
         {std::pair{"attn1.", &block.attn1}, std::pair{"attn2.", &block.attn2}}) {
      visit(prefix + name + "to_q", attention->to_q);
      visit(prefix + name + "to_k", attention->to_k);
      visit(prefix + name + "to_v", attention->to_v);
      visit(prefix + name + "to_out.0", attention->to_out);
    }
    visit(prefix + "ffn.net.0.proj", block.ffn_in);
    visit(prefix + "ffn.net.2", block.ffn_out);
  }
}

std::int64_t Dit::unit_of(const std::string& name) const {
  return name.starts_with(kBlocks) ? std::stoll(name.substr(kBlocks.size())) : -1;
}

Dit::Conditions Dit::conditions(const DitInput& input, at::ScalarType compute_type,
                                const TokenPlan& plan) {
  Conditions c(plan);
  c.compute_type = compute_type;
  const at::Device device = input.patches_TK.device();
  c.rows = rows_on(narrow(modulation_rows(input), plan.own_places()), device);
  c.single_row = rows_on(one_row(plan.num_own()), device);
  c.rotation = rotary_.rotation(input.grids, device);
  c.rotation.positions_T3 = plan.joint(c.rotation.positions_T3);
  std::vector<at::Tensor> texts = input.text_LE.split_with_sizes(input.text_lengths), held;
  for (const auto& [segment, length] : plan.joint_pieces()) {
    c.lengths.push_back(length);
    c.text_lengths.push_back(input.text_lengths[segment]);
    held.push_back(texts[segment]);
  }
  const at::Tensor text_LE = held.size() == texts.size() ? input.text_LE : at::cat(held);
  const at::ScalarType master_type = scale_shift_table_.scalar_type();
  c.time_UD =
      time_out_(at::silu(time_in_(sinusoids(input.timesteps_U, config_.freq_dim).to(master_type))));
  c.time_U6D = time_proj_(at::silu(c.time_UD)).view({-1, 6, config_.width()});
  c.text_LD = text_out_(tanh_gelu(text_in_(text_LE.to(compute_type))));
  return c;
}

at::Tensor Dit::forward(const DitInput& input, at::ScalarType compute_type) {
  std::vector<std::int64_t> lengths;
  for (const Grid& grid : input.grids) lengths.push_back(grid.tokens());
  return forward(input, compute_type, TokenPlan(lengths));
}

at::Tensor Dit::forward(const DitInput& input, at::ScalarType compute_type, const TokenPlan& plan) {
  check_input(input, config_);
  // Shared with the blocks' recomputation, which comes after this function's end.
  const auto shared = std::make_shared<const Conditions>(conditions(input, compute_type, plan));
  const Conditions& c = *shared;
  const at::Tensor patches_tK = plan.own(input.patches_TK).to(scale_shift_table_.scalar_type());
  at::Tensor x_tD = linear(patches_tK, patch_embedding_.weight.flatten(1), patch_embedding_.bias);
  // Recomputation needs an input with a gradient; where only adapters are trained, none has.
  const bool offloads = checkpointing_ == Checkpointing::kOffload;
  const bool is_full = checkpointing_ == Checkpointing::kFull || offloads;
  if (is_full && c10::GradMode::is_enabled() && !x_tD.requires_grad()) x_tD.set_requires_grad(true);
  const bool is_selective =
      checkpointing_ == Checkpointing::kSelective && c10::GradMode::is_enabled();
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const Block& block = blocks_[i];
    const auto unit = static_cast<std::int64_t>(i);
    if (gate_ != nullptr) gate_->fetch(unit, false);
    const auto run = [this, &block, shared, is_selective](const std::vector<at::Tensor>& in) {
      const SelectiveScope scope(is_selective);
      const RecastScope recast(is_selective || gate_ != nullptr);
      return block(in[0], in[1], in[2], *shared, config_);
    };
    const std::vector<at::Tensor> in = {x_tD, c.time_U6D, c.text_LD};
    x_tD = close_gate(is_full ? recompute(run, in, offloads) : run(in), gate_, unit);
  }

  const auto m = (scale_shift_table_ + c.time_UD.unsqueeze(1)).unbind(1);  // shift, scale
  return proj_out_(
      modulated_layer_norm(x_tD, m[1] + 1, m[0], c.rows, config_.eps, x_tD.scalar_type()));
}

}  // namespace zoetrope::model
