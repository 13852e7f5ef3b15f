// The encoding job: what the user lists -> a corpus, on any number of ranks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/clip_filter.h"
#include "data/source_list.h"
#include "data/video_reader.h"
#include "launch/communicator.h"
#include "model/vae_stream.h"

namespace zoetrope::train {

struct EncodeSettings {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  std::string vae, text_encoder;  // as resolve_weights and find_weights take them
  data::ListOptions lists;
  data::DecodeRequest decode;  // without path and range
  model::VaeRunConfig vae_run;
  at::Device device = at::kCPU;      // of VAE and text encoder
  std::string split_shots = "auto";  // always, never; auto: items without caption and range
  double min_seconds = 0;            // shorter clips are rejected as filtered_length
  double max_seconds = 0;            // longer ones are cut into equal pieces; 0: any length
  data::ClipFilter filter;           // clips that it leaves out are rejected with its reason
  double max_rejected_share = 0.05;  // more, but for filtered ones: DataError at the end
  std::int64_t shard_bytes = 0;
  std::vector<std::filesystem::path> reuse;  // corpora that latents are taken over from
  bool online = false;                       // stores no latents
  bool retry_rejects = false;
  bool verify = false;  // reads all shards first
};

// Collective. An interrupted job goes on where it was, with the same bytes in the end whatever the
// number of ranks. Rank 0 prints one line of JSON: sources, clips, copies (of the same range of the
// same content as another: one clip with the captions of all), rejected, rejected_by (reason),
// taken_over (from `reuse`), idle_share (the largest share of the working time that a rank waited
// for the others at the end), output. ConfigError when another job writes there, when its settings
// are not those of the corpus, or when the disk is too full.
int run_encode_job(const EncodeSettings& settings, launch::Communicator& world);

}  // namespace zoetrope::train
