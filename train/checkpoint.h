// Checkpoints: folders published whole, found by scanning for valid manifests.
//
//   checkpoints/step_00000500/
//     model/ ema/             folders that diffusers loads (config.json + safetensors, fp32)
//     optimizer.safetensors   "first.NAME" and "second.NAME": AdamW's moments, global tensors
//     (model/, ema/ and these: above checkpoint.max_file_gb, several files with an index)
//     state.json              step, skipped steps, seed, and the task's context
//     config.yaml             resolved
//     manifest.json           format, step, task, versions, every file's bytes and XXH3; written
//     last
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"

namespace zoetrope::train {

// In the run folder of a run that was asked to stop, until it goes on: {"step", "of"}.
constexpr const char* kStoppedFile = "stopped.json";

// Where the files of a checkpoint are written before it is published.
std::filesystem::path unfinished_folder(const std::filesystem::path& run_folder, std::int64_t step);

// Makes files of `folder` durable, and says what they are, as the manifest does: {NAME: {"bytes",
// "xxh3"}}.
Json seal_files(const std::filesystem::path& folder, const std::vector<std::string>& names);

// Makes the unfinished folder of `step` a checkpoint, `run_folder`/checkpoints/step_N: the
// manifest is written, then the folder renamed. `files`: of all its files, sealed. A failure leaves
// older checkpoints untouched.
std::filesystem::path publish_checkpoint(const std::filesystem::path& run_folder, std::int64_t step,
                                         const std::string& task, const Json& files);

// Steps and folders of the checkpoints whose manifest is there and whose files have the right
// sizes, oldest first; the others are named in the log and left out.
struct FoundCheckpoint {
  std::int64_t step = 0;
  std::filesystem::path folder;
};
std::vector<FoundCheckpoint> find_checkpoints(const std::filesystem::path& run_folder);

// What this program is made of, for manifests and run folders: {"zoetrope", "torch", "git"}; git is
// the commit of the source that was configured, or "" outside a repository.
Json program_versions();
// Warns of each version that differs between the checkpoint's program and this one.
void warn_of_other_versions(const std::filesystem::path& checkpoint);

// True when every file has the hash that the manifest says; otherwise logs the file that has not.
bool verify_checkpoint(const std::filesystem::path& folder);

// Removes the temporary folders of killed runs and failed writes, as far as the system lets it.
void remove_unfinished(const std::filesystem::path& run_folder);

// Removes all but the newest `keep_last` (0 = keeps all) and those of steps that `keep_every`
// divides (0 = none).
void prune_checkpoints(const std::filesystem::path& run_folder, std::int64_t keep_last,
                       std::int64_t keep_every);

// ConfigError naming the first key in which FOLDER/config.json differs from `model_config`;
// measured statistics of the latents may.
void check_same_model(const Json& model_config, const std::filesystem::path& folder);

// What a user points at -> one checkpoint folder: a run folder (its newest valid checkpoint) or a
// checkpoint. ConfigError says what was looked for.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path);

// What a user points at -> one folder of weights: the folder itself (it has config.json), `part`
// ("transformer" or "vae") of a diffusers pipeline, `kept` ("ema" or "model") of a run's newest
// valid checkpoint or of a checkpoint, or the shipped folder of that NAME. ConfigError says what
// was looked for.
std::filesystem::path resolve_weights(const std::string& name, const std::string& part,
                                      const std::string& kept = "ema");
// What a DiT's folder of weights says of what it was trained with: its context.json, or the state
// of its checkpoint; {} when it says nothing.
Json context_of(const std::filesystem::path& weights);

}  // namespace zoetrope::train
