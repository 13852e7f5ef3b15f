// Journals of all ranks -> the corpus's sorted, unique lists. The result depends on the set of
// lines alone, never on how many ranks wrote them or in which order.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "data/corpus_index.h"
#include "data/manifest.h"
#include "data/near_duplicates.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

// Candidates of one clip -> one record. Union of captions, in the order of their sources.
ClipRecord unite(std::vector<ClipRecord> candidates) {
  const auto key = [](const ClipRecord& r) {
    return std::tie(r.source, r.start_s, r.captions, r.shard);
  };
  std::sort(candidates.begin(), candidates.end(),
            [&](const ClipRecord& a, const ClipRecord& b) { return key(a) < key(b); });
  ClipRecord united = candidates.front();
  const bool has_kinds = std::any_of(candidates.begin(), candidates.end(),
                                     [](const auto& c) { return !c.caption_kinds.empty(); });
  united.caption_kinds.clear();
  for (std::size_t i = 0; has_kinds && i < united.captions.size(); ++i) {
    united.caption_kinds.push_back(candidates.front().caption_kind(i));
  }
  for (const ClipRecord& candidate : candidates) {
    // The copy of the first part that has one.
    if (candidate.is_stored() && (!united.is_stored() || candidate.shard < united.shard)) {
      united.shard = candidate.shard;
      united.shard_offset = candidate.shard_offset;
    }
    for (std::size_t i = 0; i < candidate.captions.size(); ++i) {
      const auto& known = united.captions;
      if (std::find(known.begin(), known.end(), candidate.captions[i]) != known.end()) continue;
      united.captions.push_back(candidate.captions[i]);
      united.text_ids.push_back(candidate.text_ids[i]);
      if (has_kinds) united.caption_kinds.push_back(candidate.caption_kind(i));
    }
  }
  return united;
}

// All journals of a corpus as they are read, part by part.
struct Journals {
  std::set<std::string> stored;  // ids of clips that some part has itself
  std::map<std::string, std::vector<ClipRecord>> clips;
  std::map<std::string, TextEntry> texts;
  std::map<std::string, ShardEntry> shards;
  std::map<std::string, std::set<Reject>> rejects;  // by item

  void add(Part part) {
    // This part's word on an item replaces that of earlier ones.
    for (const PartReject& reject : part.rejects) rejects[reject.origin.item].clear();
    for (auto* lines : {&part.clips, &part.copies}) {
      for (PartClip& line : *lines) {
        rejects[line.origin.item].clear();
        if (lines == &part.clips) stored.insert(line.clip.id);
        clips[line.clip.id].push_back(std::move(line.clip));
      }
    }
    for (PartReject& one : part.rejects) rejects[one.origin.item].insert(std::move(one.reject));
    for (TextEntry& text : part.texts) texts.emplace(text.id, text);
    for (ShardEntry& shard : part.shards) shards.emplace(shard.file, shard);
  }
};

template <class Item>
std::vector<Item> values_of(std::map<std::string, Item>& by_name) {
  std::vector<Item> values;
  for (auto& [name, value] : by_name) values.push_back(std::move(value));
  return values;
}

}  // namespace

MergeSummary merge_corpus(const fs::path& folder, const std::vector<std::int64_t>& parts,
                          double wait_s) {
  for (const std::int64_t part : parts) {
    const fs::path path = folder / "records" / (part_name(part) + ".jsonl");
    ZOETROPE_CHECK(wait_until_visible([&] { return fs::exists(path); }, wait_s), path.string(),
                   " is not there after ", wait_s, " s, though its part is done");
  }
  Journals journals;
  for (const auto& [number, path] : list_parts(folder)) journals.add(read_part(path));
  std::vector<ClipRecord> clips;
  for (auto& [id, candidates] : journals.clips) {
    if (journals.stored.count(id) == 0) continue;  // copies of what a lost part had
    clips.push_back(unite(std::move(candidates)));
    for (const std::string& text : clips.back().text_ids) {
      ZOETROPE_CHECK_DATA(journals.texts.count(text) != 0, "corpus ", folder.string(), ": clip ",
                          id, " has caption ", text, ", whose state no part has");
    }
  }
  mark_near_duplicates(clips);
  std::set<Reject> rejects;
  for (const auto& [item, of_item] : journals.rejects)
    rejects.insert(of_item.begin(), of_item.end());
  const std::vector<TextEntry> texts = values_of(journals.texts);
  const std::vector<ShardEntry> shards = values_of(journals.shards);
  write_rejects(folder, {rejects.begin(), rejects.end()});
  write_shard_list(folder, shards);
  write_text_index(folder, texts);
  write_manifest(folder, clips);  // after what it names
  build_index(folder);
  return {static_cast<std::int64_t>(clips.size()), static_cast<std::int64_t>(texts.size()),
          static_cast<std::int64_t>(shards.size()), static_cast<std::int64_t>(rejects.size())};
}

}  // namespace zoetrope::data
