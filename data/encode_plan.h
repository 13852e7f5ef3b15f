// What an encoding job does, cut into parts. A part is a text shard, a latent shard and a journal;
// its content is a function of the user's list and of what the corpus held when the job began, not
// of the ranks that work, their speed or the kills in between. So a corpus is the same, byte for
// byte, however often and with however many ranks its job was taken up again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "data/manifest.h"

namespace zoetrope::data {

// One item of the list after a look at its file.
struct WorkItem {
  std::string source;
  std::vector<std::string> captions;
  Origin origin;
  std::int64_t bytes = 0;                       // of its latents, estimated
  std::vector<std::string> caption_kinds = {};  // one per caption
};

// What the parts before `first_part` hold.
struct KnownParts {
  std::int64_t first_part = 0;
  std::unordered_map<std::string, std::vector<ClipRecord>> clips_by_key;
  std::unordered_set<std::string> lines;  // names of the journals' lines
  std::unordered_set<std::string> text_ids;
};
// `forget_rejects`: what they rejected counts as new.
KnownParts read_known_parts(const std::filesystem::path& folder, std::int64_t first_part,
                            bool forget_rejects);

// Items of one key, that is of one content: encoded once, from the first.
struct WorkGroup {
  std::vector<std::int64_t> items;
};
struct WorkPart {
  std::int64_t number = 0;
  std::int64_t bytes = 0;  // estimated
  std::vector<WorkGroup> groups;
  std::vector<std::string> texts;  // captions whose states this part stores
};

// Groups in the order of the list, cut where a part passes `shard_bytes`, or earlier, so that there
// are some 512 parts to share out, but of 128 KiB at least. What `known` holds is left out. A
// caption's state goes to the first part that needs it, that of the empty caption to the first.
std::vector<WorkPart> cut_parts(const std::vector<WorkItem>& items, const KnownParts& known,
                                std::int64_t shard_bytes);

}  // namespace zoetrope::data
