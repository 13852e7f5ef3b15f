// One list of videos (.csv, .jsonl, .json or .txt) as clips, whatever its columns are called.
// Understands the lists of Open-Sora, OpenVid-1M, Panda-70M, finetrainers, diffusion-pipe and
// musubi-tuner.
#pragma once

#include <filesystem>
#include <vector>

#include "data/source_list.h"

namespace zoetrope::data {

bool is_list_file(const std::filesystem::path& path);

// The captions line by line beside videos.txt or video.txt, as finetrainers has them: prompts.txt,
// prompt.txt, captions.txt or caption.txt. "" when `path` is none of the first or has none beside.
std::filesystem::path prompts_beside(const std::filesystem::path& path);

// Clips in the order of the file. Relative paths start at `media_root`, or at the list's folder
// when it is empty; `origin` is "list.csv:12". Errors as in source_list.h.
std::vector<SourceItem> read_list_file(const std::filesystem::path& path,
                                       const std::filesystem::path& media_root = {});

}  // namespace zoetrope::data
