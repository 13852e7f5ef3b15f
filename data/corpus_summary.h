// What a corpus, a manifest or a shard holds, counted: for people (inspect) and for checks.
#pragma once

#include <filesystem>
#include <vector>

#include "base/json.h"
#include "data/clip_record.h"

namespace zoetrope::data {

// Counts, durations, and how often each size, length and aspect ratio occurs, most frequent first.
Json summarise_clips(const std::vector<ClipRecord>& clips);

// Header, clips, texts, shards with their bytes, shards that are missing or cut short, and rejects
// by code. Reads no values: quick on any corpus.
Json summarise_corpus(const std::filesystem::path& folder);

// Records with their shapes, in the order of writing, and mean and standard deviation of all
// values. Reads every record, so a bad checksum is found (DataError).
Json summarise_shard(const std::filesystem::path& file);

}  // namespace zoetrope::data
