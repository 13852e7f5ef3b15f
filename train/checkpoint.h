// Checkpoints: folders published whole, found by scanning for valid manifests.
//
//   checkpoints/step_00000500/
//     model/ ema/             folders that diffusers loads (config.json + safetensors, fp32)
//     optimizer.safetensors   "first.NAME" and "second.NAME": AdamW's moments, global tensors
//     state.json              step, skipped steps, seed, and the task's context
//     config.yaml             resolved
//     manifest.json           format, step, task, versions, every file's bytes and XXH3; written
//     last
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "base/json.h"

namespace zoetrope::train {

// Publishes `run_folder`/checkpoints/step_N: `write` fills a temporary folder, then every file is
// synced and hashed, the manifest is written and the folder renamed. A failure leaves older
// checkpoints untouched.
std::filesystem::path publish_checkpoint(
    const std::filesystem::path& run_folder, std::int64_t step, const std::string& task,
    const std::function<void(const std::filesystem::path&)>& write);

// Steps and folders of the checkpoints whose manifest is there and whose files have the right
// sizes, oldest first; the others are named in the log and left out.
struct FoundCheckpoint {
  std::int64_t step = 0;
  std::filesystem::path folder;
};
std::vector<FoundCheckpoint> find_checkpoints(const std::filesystem::path& run_folder);

// What this program is made of, for manifests and run folders: {"zoetrope", "torch"}.
Json program_versions();

// True when every file has the hash that the manifest says; otherwise logs the file that has not.
bool verify_checkpoint(const std::filesystem::path& folder);

// Removes all but the newest `keep_last` (0 = keeps all), and temporary folders of killed runs.
void prune_checkpoints(const std::filesystem::path& run_folder, std::int64_t keep_last);

// What a user points at -> one checkpoint folder: a run folder (its newest valid checkpoint) or a
// checkpoint. ConfigError says what was looked for.
std::filesystem::path resolve_checkpoint(const std::filesystem::path& path);

}  // namespace zoetrope::train
