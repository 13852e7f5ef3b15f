// Journals of all ranks -> the corpus's sorted, unique lists. The result depends on the set of
// lines alone, never on how many ranks wrote them or in which order.
#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/error.h"
#include "data/corpus_index.h"
#include "data/manifest.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

// Waits for the ranks of this job and for every part that they say they published.
std::vector<Reject> collect_rejects(const fs::path& records, int num_ranks, double wait_s) {
  std::vector<Reject> rejects;
  for (int rank = 0; rank < num_ranks; ++rank) {
    const fs::path folder = records / rank_name(rank);
    const fs::path finished = folder / "finished.json";
    ZOETROPE_CHECK(wait_until_visible([&] { return fs::exists(finished); }, wait_s), "rank ", rank,
                   " has not finished: ", finished.string(), " is not there after ", wait_s, " s");
    const RankFinish finish = read_finish(finished);
    for (std::int64_t part = 0; part < finish.num_parts; ++part) {
      const fs::path path = folder / (part_name(part) + ".jsonl");
      ZOETROPE_CHECK(wait_until_visible([&] { return fs::exists(path); }, wait_s), path.string(),
                     " is not there after ", wait_s, " s, though rank ", rank, " published it");
    }
    rejects.insert(rejects.end(), finish.rejects.begin(), finish.rejects.end());
  }
  return rejects;
}

std::vector<fs::path> list_parts(const fs::path& records) {
  std::vector<fs::path> parts;
  for (const auto& entry : fs::recursive_directory_iterator(records)) {
    if (entry.path().extension() == ".jsonl") parts.push_back(entry.path());
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

// Candidates of one clip -> one record. Union of captions, in the order of their sources.
ClipRecord unite(std::vector<ClipRecord> candidates) {
  const auto key = [](const ClipRecord& r) {
    return std::tie(r.source, r.start_s, r.captions, r.shard);
  };
  std::sort(candidates.begin(), candidates.end(),
            [&](const ClipRecord& a, const ClipRecord& b) { return key(a) < key(b); });
  ClipRecord united = candidates.front();
  for (const ClipRecord& candidate : candidates) {
    if (std::tie(candidate.shard, candidate.shard_offset) <
        std::tie(united.shard, united.shard_offset)) {
      united.shard = candidate.shard;
      united.shard_offset = candidate.shard_offset;
    }
    for (std::size_t i = 0; i < candidate.captions.size(); ++i) {
      const auto& known = united.captions;
      if (std::find(known.begin(), known.end(), candidate.captions[i]) != known.end()) continue;
      united.captions.push_back(candidate.captions[i]);
      united.text_ids.push_back(candidate.text_ids[i]);
    }
  }
  return united;
}

// This run's word on a source replaces the earlier one; a source that gives clips now and was not
// rejected again is no reject any more.
std::vector<Reject> unite_rejects(const fs::path& folder, const std::vector<Reject>& fresh,
                                  std::set<std::string> settled) {
  for (const Reject& reject : fresh) settled.insert(reject.source);
  std::set<Reject> united(fresh.begin(), fresh.end());
  if (fs::exists(folder / "rejects.jsonl")) {
    for (const Reject& reject : read_rejects(folder)) {
      if (settled.count(reject.source) == 0) united.insert(reject);
    }
  }
  return {united.begin(), united.end()};
}

}  // namespace

MergeSummary merge_corpus(const fs::path& folder, int num_ranks, double wait_s) {
  const fs::path records = folder / "records";
  const std::vector<Reject> fresh = collect_rejects(records, num_ranks, wait_s);
  std::map<std::string, std::vector<ClipRecord>> clips_by_id;
  std::map<std::string, TextEntry> texts_by_id;
  std::map<std::string, ShardEntry> shards_by_file;
  std::set<std::string> sources;
  for (const fs::path& path : list_parts(records)) {
    Part part = read_part(path);
    for (ShardEntry& shard : part.shards) shards_by_file.emplace(shard.file, shard);
    for (TextEntry& text : part.texts) texts_by_id.emplace(text.id, text);  // parts are sorted
    for (ClipRecord& clip : part.clips) {
      sources.insert(clip.source);
      clips_by_id[clip.id].push_back(std::move(clip));
    }
  }
  std::vector<ClipRecord> clips;
  for (auto& [id, candidates] : clips_by_id) clips.push_back(unite(std::move(candidates)));
  std::vector<TextEntry> texts;
  for (auto& [id, text] : texts_by_id) texts.push_back(std::move(text));
  std::vector<ShardEntry> shards;
  for (auto& [file, shard] : shards_by_file) shards.push_back(std::move(shard));
  const std::vector<Reject> rejects = unite_rejects(folder, fresh, std::move(sources));
  write_rejects(folder, rejects);
  write_shard_list(folder, shards);
  write_text_index(folder, texts);
  write_manifest(folder, clips);  // after what it names
  build_index(folder);
  return {static_cast<std::int64_t>(clips.size()), static_cast<std::int64_t>(texts.size()),
          static_cast<std::int64_t>(shards.size()), static_cast<std::int64_t>(rejects.size())};
}

}  // namespace zoetrope::data
