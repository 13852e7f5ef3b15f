// Loads DiT, VAE and text encoder, and runs them one after another.
#include "train/generator.h"

#include <algorithm>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "train/checkpoint.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

std::string chosen(const std::string& given, const Json& context, const char* what,
                   const char* flag) {
  if (!given.empty()) return given;
  const std::string name = context.contains(what) && context.at(what).is_object()
                               ? context.at(what).value("name", "")
                               : "";
  ZOETROPE_CHECK_CONFIG(!name.empty(), "the checkpoint does not say which ", what,
                        " it was trained with: give ", flag);
  return name;
}

// A DiT's latents mean something only to the VAE that made them, and text states to it only as its
// encoder wrote them. Another one may be named on purpose, never found by accident.
void check_hash(const Json& context, const char* what, const std::string& hash, bool is_named,
                const char* flag) {
  const Json trained = context.contains(what) ? context.at(what) : Json();
  if (!trained.is_object() || trained.value("hash", hash) == hash) return;
  const std::string text = concat("the checkpoint was trained with the ", what, " ", trained.dump(),
                                  ", this one has hash ", hash);
  ZOETROPE_CHECK_CONFIG(is_named, text, ": give the folder of the right one as ", flag);
  log_warn(text);
}

void check_latents(const model::DitConfig& dit, const model::VaeConfig& vae) {
  ZOETROPE_CHECK_CONFIG(dit.out_channels == vae.z_dim, "the checkpoint makes ", dit.out_channels,
                        " latent channels, the VAE decodes ", vae.z_dim);
}

}  // namespace

VideoGenerator::VideoGenerator(const GeneratorConfig& config) : vae_run_(config.vae_run) {
  folder_ = resolve_weights(config.checkpoint, "transformer", config.weights);
  const Json context = context_of(folder_);
  dit_ = model::load_dit(folder_, config.device);
  const fs::path vae = resolve_weights(chosen(config.vae, context, "vae", "--vae"), "vae");
  check_hash(context, "vae", hash_file(find_safetensors(vae).front()), !config.vae.empty(),
             "--vae");
  vae_ = model::load_vae(vae, config.device);
  text_ = std::make_unique<model::TextPipeline>(
      find_weights(chosen(config.text_encoder, context, "text_encoder", "--text-encoder")),
      config.device);
  check_hash(context, "text_encoder", text_->hash(), !config.text_encoder.empty(),
             "--text-encoder");
  check_latents(dit_->config(), vae_->config());
  model::check_vae_run_config(vae_run_, vae_->config().space_stride());
  ZOETROPE_CHECK_CONFIG(text_->width() == dit_->config().text_dim,
                        "the checkpoint reads text states of width ", dit_->config().text_dim,
                        ", the text encoder gives ", text_->width());
  dit_->set_requires_grad(false);
  vae_->set_requires_grad(false);
  conditioned_share_ = context.value("conditioned_share", 0.0);
  if (context.contains("objective")) {
    prediction_ = model::prediction_of(context.at("objective").value("target", "v"));
  }
  if (context.value("fps", 0.0) > 0) fps_ = context.at("fps").get<double>();
}

model::SampleRequest VideoGenerator::make_request(const VideoPrompt& prompt,
                                                  const at::Tensor& text_LE,
                                                  const at::Tensor& null_text_LE,
                                                  std::uint64_t seed) {
  const model::VaeConfig& vae = vae_->config();
  const auto& patch = dit_->config().patch_size;
  const int frames_step = vae.time_stride() * static_cast<int>(patch[0]);
  const int height_step = vae.space_stride() * static_cast<int>(patch[1]);
  const int width_step = vae.space_stride() * static_cast<int>(patch[2]);
  ZOETROPE_CHECK_CONFIG(prompt.frames >= 1 && (prompt.frames - 1) % frames_step == 0, "--frames ",
                        prompt.frames, " is not 1 + a multiple of ", frames_step);
  ZOETROPE_CHECK_CONFIG(prompt.height > 0 && prompt.height % height_step == 0, "--height ",
                        prompt.height, " is not a multiple of ", height_step);
  ZOETROPE_CHECK_CONFIG(prompt.width > 0 && prompt.width % width_step == 0, "--width ",
                        prompt.width, " is not a multiple of ", width_step);
  model::SampleRequest request;
  request.channels = vae.z_dim;
  request.frames = 1 + (prompt.frames - 1) / vae.time_stride();
  request.height = prompt.height / vae.space_stride();
  request.width = prompt.width / vae.space_stride();
  request.text_LE = text_LE;
  request.null_text_LE = null_text_LE;
  request.seed = seed;
  request.index = prompt.index;
  if (!prompt.keep.empty()) keep(prompt, request);
  return request;
}

// Frames around kept ones shape their latents too: the VAE sees the whole video.
void VideoGenerator::keep(const VideoPrompt& prompt, model::SampleRequest& request) {
  const KeptVideo video = place_kept(prompt.keep, prompt.frames, prompt.height, prompt.width,
                                     vae_->config().time_stride());
  const at::Tensor pixels =
      model::pixels_from_rgb(video.frames.rgb.data(), prompt.frames, prompt.height, prompt.width);
  request.kept_CTHW =
      vae_->normalise(vae_->encode(pixels.to(vae_->device())).mean.cpu()).squeeze(0);
  request.keep_THW = at::zeros({request.frames, request.height, request.width}, at::kBool);
  for (std::size_t frame = 0; frame < video.latent_frames.size(); ++frame) {
    if (video.latent_frames[frame])
      request.keep_THW.select(0, static_cast<std::int64_t>(frame)).fill_(true);
  }
}

int VideoGenerator::size_multiple() const {
  return vae_->config().space_stride() * static_cast<int>(dit_->config().patch_size[1]);
}

std::vector<data::Frames> VideoGenerator::generate(const std::vector<VideoPrompt>& prompts,
                                                   std::uint64_t seed,
                                                   const model::SampleConfig& config, int pack_size,
                                                   const std::function<void()>& on_step) {
  const at::NoGradGuard no_grad;
  model::SampleConfig sampling = config;
  sampling.prediction = prediction_;
  std::vector<std::string> texts;
  for (const VideoPrompt& prompt : prompts) {
    texts.push_back(prompt.text);
    texts.push_back(prompt.negative);
  }
  const auto states = text_->encode(texts);
  std::vector<model::SampleRequest> requests;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    requests.push_back(make_request(prompts[i], states[2 * i], states[2 * i + 1], seed));
  }
  std::vector<data::Frames> clips;
  for (std::size_t first = 0; first < requests.size(); first += pack_size) {
    const std::size_t last = std::min(requests.size(), first + pack_size);
    const std::vector<model::SampleRequest> pack(requests.begin() + first, requests.begin() + last);
    const auto latents = model::sample_latents(*dit_, pack, sampling, [&](int) {
      if (on_step) on_step();
    });
    for (const at::Tensor& latent : latents) clips.push_back(decode(latent));
  }
  return clips;
}

data::Frames VideoGenerator::decode(const at::Tensor& latent) {
  const model::VaeConfig& vae = vae_->config();
  data::Frames frames;
  frames.num_frames = static_cast<int>(1 + (latent.size(1) - 1) * vae.time_stride());
  frames.height = static_cast<int>(latent.size(2) * vae.space_stride());
  frames.width = static_cast<int>(latent.size(3) * vae.space_stride());
  frames.fps = fps_;
  for (int i = 0; i < frames.num_frames; ++i) frames.pts_s.push_back(i / fps_);
  frames.rgb.resize(frames.frame_bytes() * frames.num_frames);
  model::decode_frames(*vae_, vae_->denormalise(latent.unsqueeze(0)), vae_run_, frames.rgb.data());
  return frames;
}

}  // namespace zoetrope::train
