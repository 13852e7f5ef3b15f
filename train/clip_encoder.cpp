// One way from frames to latents, for encode_dataset and for training.
#include "train/clip_encoder.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/isfinite.h>

#include "base/error.h"
#include "base/files.h"
#include "base/safetensors.h"
#include "data/half_float.h"
#include "data/manifest.h"
#include "data/media_file.h"
#include "train/checkpoint.h"

namespace zoetrope::train {
namespace {

namespace fs = std::filesystem;

data::DecodeRequest request_of(const Json& header) {
  const Json transform = header.value("transform", Json::object());
  data::DecodeRequest request;
  request.max_pixels = transform.value("max_pixels", std::int64_t{0});
  request.fps = transform.value("fps", 0.0);
  request.size_multiple = transform.value("size_multiple", 1);
  request.frames_multiple = transform.value("frames_multiple", 1);
  request.tone_map_hdr = transform.value("hdr", "") == "tone_map";
  return request;
}

model::VaeRunConfig vae_run_of(const Json& header) {
  const Json transform = header.value("transform", Json::object());
  model::VaeRunConfig run;
  run.tile = transform.value("vae_tile", std::int64_t{0});
  run.tile_overlap = transform.value("vae_overlap", std::int64_t{0});
  if (transform.value("vae_dtype", "") == "bf16") run.compute_type = at::kBFloat16;
  return run;
}

}  // namespace

std::optional<data::LatentRecord> encode_clip(model::Vae& vae, const data::Frames& frames,
                                              const std::string& id,
                                              const model::VaeRunConfig& run) {
  const at::Tensor mean = model::encode_frames(vae, frames.rgb.data(), frames.num_frames,
                                               frames.height, frames.width, run);
  const at::Tensor latent = vae.normalise(mean)[0].contiguous();
  if (!at::isfinite(latent).all().item<bool>()) return std::nullopt;
  const float* values = latent.const_data_ptr<float>();
  return data::LatentRecord{id,
                            static_cast<int>(latent.size(0)),
                            static_cast<int>(latent.size(1)),
                            static_cast<int>(latent.size(2)),
                            static_cast<int>(latent.size(3)),
                            {values, values + latent.numel()}};
}

OnlineEncoder::OnlineEncoder(fs::path corpus, std::string vae, fs::path media_root)
    : corpus_(std::move(corpus)), media_root_(std::move(media_root)), vae_name_(std::move(vae)) {}
OnlineEncoder::~OnlineEncoder() = default;

void OnlineEncoder::load() {
  const std::scoped_lock lock(mutex_);
  if (vae_) return;
  const Json header = data::read_corpus_header(corpus_);
  const Json made_by = header.value("vae", Json::object());
  const fs::path folder =
      resolve_weights(vae_name_.empty() ? made_by.value("name", "") : vae_name_, "vae");
  const std::string hash = hash_file(find_safetensors(folder).front());
  ZOETROPE_CHECK_CONFIG(hash == made_by.value("hash", ""), "corpus ", corpus_.string(),
                        " was made for the VAE ", made_by.dump(), ", but ", folder.string(),
                        " has hash ", hash);
  request_ = request_of(header);
  vae_run_ = vae_run_of(header);
  vae_ = model::load_vae(folder, at::kCPU);
  vae_->set_requires_grad(false);
}

data::LatentRecord OnlineEncoder::operator()(const data::ClipRecord& clip) {
  load();
  const data::Frames frames = decode(clip);
  ZOETROPE_CHECK_DATA(frames.num_frames == clip.frames && frames.height == clip.height &&
                          frames.width == clip.width,
                      "clip ", clip.id, ": ", clip.source, " gives ", frames.num_frames, "x",
                      frames.height, "x", frames.width, " pixels, the manifest says ", clip.frames,
                      "x", clip.height, "x", clip.width);
  auto latent = encode_clip(*vae_, frames, clip.id, vae_run_);
  ZOETROPE_CHECK_DATA(latent.has_value(), "clip ", clip.id, " of ", clip.source,
                      ": the VAE gave NaN or Inf");
  for (float& value : latent->values) value = data::round_to_half(value);
  return std::move(*latent);
}

data::Frames OnlineEncoder::decode(const data::ClipRecord& clip) {
  data::DecodeRequest request = request_;
  request.path = media_root_ / clip.source;
  request.start_s = clip.start_s;
  request.max_frames = clip.frames;
  const auto media = data::MediaFinder().find(request.path);
  ZOETROPE_CHECK_DATA(media.has_value(), "clip ", clip.id, ": its source ", request.path.string(),
                      " is not there");
  ZOETROPE_CHECK_DATA(data::hash_media(*media) == clip.content_hash, "clip ", clip.id, ": ",
                      request.path.string(), " is not the file that the corpus was made of");
  std::unique_ptr<data::VideoReader> reader;
  {
    const std::scoped_lock lock(mutex_);
    if (!readers_.empty()) {
      reader = std::move(readers_.back());
      readers_.pop_back();
    }
  }
  if (!reader) reader = std::make_unique<data::VideoReader>();
  auto decoded = reader->read(request);
  {
    const std::scoped_lock lock(mutex_);
    readers_.push_back(std::move(reader));
  }
  if (const auto* skip = std::get_if<data::SkipReason>(&decoded)) {
    throw DataError(concat("clip ", clip.id, ": ", request.path.string(), ": ", skip->code, ", ",
                           skip->detail));
  }
  return std::get<data::Frames>(std::move(decoded));
}

}  // namespace zoetrope::train
