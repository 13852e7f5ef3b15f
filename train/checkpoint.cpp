// Publishing, finding and removing checkpoints.
#include "train/checkpoint.h"

#include <torch/version.h>

#include <algorithm>
#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/options.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

constexpr int kFormat = 1;
constexpr const char* kManifest = "manifest.json";

std::string folder_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof(name), "step_%08lld", static_cast<long long>(step));
  return name;
}

// Empty when the folder is a whole checkpoint; else what is wrong with it.
std::string defect(const fs::path& folder) {
  if (!fs::exists(folder / kManifest)) return "it has no manifest.json";
  try {
    const Json manifest = read_json(folder / kManifest);
    if (manifest.at("format") != kFormat)
      return concat("its format is ", manifest.at("format").dump());
    for (const auto& [name, facts] : manifest.at("files").items()) {
      std::error_code missing;
      const auto bytes = fs::file_size(folder / name, missing);
      if (missing) return concat(name, " is missing");
      const auto expected = facts.at("bytes").get<std::uintmax_t>();
      if (bytes != expected) return concat(name, " has ", bytes, " bytes, not ", expected);
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

bool is_step_folder(const fs::path& path) {
  return path.filename().string().starts_with("step_") && path.extension() != ".tmp";
}

}  // namespace

fs::path unfinished_folder(const fs::path& run_folder, std::int64_t step) {
  return run_folder / "checkpoints" / (folder_name(step) + ".tmp");
}

Json seal_files(const fs::path& folder, const std::vector<std::string>& names) {
  Json files = Json::object();
  for (const std::string& name : names) {
    const fs::path path = folder / name;
    fsync_path(path);
    files[name] = {{"bytes", fs::file_size(path)}, {"xxh3", hash_file(path)}};
  }
  return files;
}

fs::path publish_checkpoint(const fs::path& run_folder, std::int64_t step, const std::string& task,
                            const Json& files) {
  const fs::path temporary = unfinished_folder(run_folder, step);
  const fs::path folder = run_folder / "checkpoints" / folder_name(step);
  const Json manifest{{"format", kFormat},
                      {"step", step},
                      {"task", task},
                      {"versions", program_versions()},
                      {"files", files}};
  write_json(temporary / kManifest, manifest);
  fsync_path(temporary);
  fs::remove_all(folder);
  fs::rename(temporary, folder);
  fsync_path(folder.parent_path());
  return folder;
}

std::vector<FoundCheckpoint> find_checkpoints(const fs::path& run_folder) {
  std::vector<FoundCheckpoint> found;
  const fs::path parent = run_folder / "checkpoints";
  if (!fs::is_directory(parent)) return found;
  for (const auto& entry : fs::directory_iterator(parent)) {
    if (!is_step_folder(entry.path())) continue;
    if (const std::string reason = defect(entry.path()); !reason.empty()) {
      log_warn("checkpoint ", entry.path().string(), " is left out: ", reason);
      continue;
    }
    const Json manifest = read_json(entry.path() / kManifest);
    found.push_back({manifest.at("step").get<std::int64_t>(), entry.path()});
  }
  std::sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.step < b.step; });
  return found;
}

Json program_versions() {
  return {{"zoetrope", version()}, {"torch", TORCH_VERSION}, {"git", source_commit()}};
}

void warn_of_other_versions(const fs::path& checkpoint) {
  const Json then = read_json(checkpoint / kManifest).value("versions", Json::object());
  const Json here = program_versions();
  for (const auto& [name, now] : here.items()) {
    if (!then.contains(name) || then.at(name) == now) continue;
    log_warn("checkpoint ", checkpoint.string(), " was written with ", name, " ",
             then.at(name).dump(), ", this is ", now.dump(),
             ": the run may not go on with the same bits");
  }
}

bool verify_checkpoint(const fs::path& folder) {
  const Json manifest = read_json(folder / kManifest);
  for (const auto& [name, facts] : manifest.at("files").items()) {
    if (hash_file(folder / name) != facts.at("xxh3").get<std::string>()) {
      log_warn("checkpoint ", folder.string(), " is left out: ", name,
               " does not have the hash of the manifest");
      return false;
    }
  }
  return true;
}

void remove_unfinished(const fs::path& run_folder) {
  std::error_code error;  // a folder that stays is in nobody's way
  std::vector<fs::path> unfinished;
  for (const auto& entry : fs::directory_iterator(run_folder / "checkpoints", error)) {
    if (entry.path().extension() == ".tmp") unfinished.push_back(entry.path());
  }
  for (const fs::path& path : unfinished) fs::remove_all(path, error);
}

void prune_checkpoints(const fs::path& run_folder, std::int64_t keep_last,
                       std::int64_t keep_every) {
  if (keep_last == 0) return;
  const auto found = find_checkpoints(run_folder);
  for (std::size_t i = 0; i + keep_last < found.size(); ++i) {
    if (keep_every > 0 && found[i].step % keep_every == 0) continue;
    // Under the name of an unfinished one first: a kill half-way leaves nothing to stumble over.
    const fs::path doomed = found[i].folder.string() + ".tmp";
    fs::rename(found[i].folder, doomed);
    fs::remove_all(doomed);
  }
}

void check_same_model(const Json& now, const fs::path& folder) {
  const Json then = read_json(folder / "config.json");
  const std::int64_t rank = then.value("lora", Json::object()).value("rank", 0);
  ZOETROPE_CHECK_CONFIG(now.contains("lora") || rank == 0, folder.string(),
                        " holds adapters of rank ", rank,
                        ": set dit.lora as there, or merge them with convert --merge");
  for (const auto& [key, value] : now.items()) {
    // Measured, not chosen; and where the frozen weights lie may change.
    if (key == "latents_mean" || key == "latents_std" || key == "lora_base") continue;
    ZOETROPE_CHECK_CONFIG(then.contains(key) && then.at(key) == value, "checkpoint ",
                          folder.string(), " does not fit the config: ", key, " is ",
                          then.contains(key) ? then.at(key).dump() : "missing", " there and ",
                          value.dump(), " here");
  }
}

fs::path resolve_checkpoint(const fs::path& path) {
  if (fs::exists(path / kManifest)) {
    const std::string reason = defect(path);
    ZOETROPE_CHECK_CONFIG(reason.empty(), "checkpoint ", path.string(), ": ", reason);
    return path;
  }
  const auto found = find_checkpoints(path);
  ZOETROPE_CHECK_CONFIG(!found.empty(), path.string(),
                        " is neither a checkpoint (no manifest.json) nor a run "
                        "folder with a whole checkpoint under checkpoints/");
  return found.back().folder;
}

fs::path resolve_weights(const std::string& name, const std::string& part,
                         const std::string& kept) {
  const fs::path folder = find_weights(name);
  if (fs::exists(folder / part / "config.json")) return folder / part;
  if (fs::exists(folder / "config.json")) return folder;
  ZOETROPE_CHECK_CONFIG(fs::exists(folder / kManifest) || fs::exists(folder / "checkpoints"),
                        folder.string(), " holds no weights: it is no folder of weights (no ",
                        "config.json), no pipeline (no ", part, "/config.json), no checkpoint (no ",
                        kManifest, ") and no run folder (no checkpoints/)");
  return resolve_checkpoint(folder) / kept;
}

Json context_of(const fs::path& weights) {
  if (fs::exists(weights / "context.json")) return read_json(weights / "context.json");
  const fs::path state = weights.parent_path() / "state.json";
  return fs::exists(state) ? read_json(state).at("context") : Json::object();
}

}  // namespace zoetrope::train
