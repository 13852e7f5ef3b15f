// Everything here is in the order of the list, so equal lists give equal parts.
#include "data/encode_plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kParts = 512;
constexpr std::int64_t kLeastPartBytes = std::int64_t{128} << 10;

// Of a caption's states, roughly: a token has some four letters and 384 values of two bytes.
std::int64_t text_bytes(const std::string& caption) {
  return 768 * (2 + static_cast<std::int64_t>(caption.size()) / 4);
}

// A line of the journals that a second run need not write again.
std::string line_name(const char* kind, const Origin& origin, const std::string& source,
                      const std::vector<std::string>& captions) {
  std::string name = concat(kind, '\0', origin.item, '\0', origin.key, '\0', source);
  for (const std::string& caption : captions) name += concat('\0', caption);
  return hash_text(name);
}

bool is_known(const WorkItem& item, const KnownParts& known) {
  const auto has = [&](const std::string& name) { return known.lines.count(name) != 0; };
  if (item.origin.key.empty()) return false;
  if (has(line_name("reject", item.origin, item.source, {}))) return true;
  return known.clips_by_key.count(item.origin.key) != 0 &&
         has(line_name("clip", item.origin, item.source, item.captions));
}

std::vector<WorkGroup> group_items(const std::vector<WorkItem>& items, const KnownParts& known) {
  std::vector<WorkGroup> groups;
  std::unordered_map<std::string, std::size_t> group_of_key;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (is_known(items[i], known)) continue;
    const auto index = static_cast<std::int64_t>(i);
    const auto [found, is_new] = group_of_key.emplace(items[i].origin.key, groups.size());
    if (is_new || items[i].origin.key.empty()) {
      groups.push_back({{index}});
    } else {
      groups[found->second].items.push_back(index);
    }
  }
  return groups;
}

}  // namespace

KnownParts read_known_parts(const fs::path& folder, std::int64_t first_part, bool forget_rejects) {
  KnownParts known;
  known.first_part = first_part;
  for (const auto& [number, path] : list_parts(folder)) {
    if (number >= first_part) continue;
    Part part = read_part(path);
    for (const auto* lines : {&part.clips, &part.copies}) {
      for (const PartClip& line : *lines) {
        known.lines.insert(line_name("clip", line.origin, line.clip.source, line.clip.captions));
      }
    }
    for (PartClip& line : part.clips) {
      known.clips_by_key[line.origin.key].push_back(std::move(line.clip));
    }
    for (const PartReject& line : part.rejects) {
      if (forget_rejects) break;
      known.lines.insert(line_name("reject", line.origin, line.reject.source, {}));
    }
    for (const TextEntry& text : part.texts) known.text_ids.insert(text.id);
  }
  return known;
}

std::vector<WorkPart> cut_parts(const std::vector<WorkItem>& items, const KnownParts& known,
                                std::int64_t shard_bytes) {
  ZOETROPE_CHECK_CONFIG(shard_bytes > 0, "shards of ", shard_bytes, " bytes, expected more than 0");
  const std::vector<WorkGroup> groups = group_items(items, known);
  const auto bytes_of = [&](const WorkGroup& group) {
    const auto first = static_cast<std::size_t>(group.items.front());
    std::int64_t bytes = known.clips_by_key.count(items[first].origin.key) ? 0 : items[first].bytes;
    for (const std::int64_t item : group.items) {
      for (const auto& caption : items[static_cast<std::size_t>(item)].captions) {
        bytes += text_bytes(caption);
      }
    }
    return bytes;
  };
  std::int64_t total = 0;
  for (const WorkGroup& group : groups) total += bytes_of(group);
  const std::int64_t limit = std::min(shard_bytes, std::max(total / kParts, kLeastPartBytes));

  std::vector<WorkPart> parts;
  std::unordered_set<std::string> planned;
  const auto add_text = [&](WorkPart& part, const std::string& caption) {
    const std::string id = hash_text(caption);
    if (known.text_ids.count(id) == 0 && planned.insert(id).second) part.texts.push_back(caption);
  };
  WorkPart part{known.first_part};
  add_text(part, "");
  for (const WorkGroup& group : groups) {
    part.bytes += bytes_of(group);
    part.groups.push_back(group);
    for (const std::int64_t item : group.items) {
      for (const auto& caption : items[static_cast<std::size_t>(item)].captions) {
        add_text(part, caption);
      }
    }
    if (part.bytes < limit) continue;
    parts.push_back(std::move(part));
    part = {parts.back().number + 1};
  }
  // Of clips that are known, though a damaged part took their states along.
  for (const WorkItem& item : items) {
    for (const std::string& caption : item.captions) add_text(part, caption);
  }
  if (!part.groups.empty() || !part.texts.empty()) parts.push_back(std::move(part));
  return parts;
}

}  // namespace zoetrope::data
