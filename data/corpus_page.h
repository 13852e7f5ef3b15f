// A corpus as one HTML page for people: counts, histograms, rejects by reason, and thumbnails made
// from the sources on request.
#pragma once

#include <cstdint>
#include <filesystem>

namespace zoetrope::data {

struct PageOptions {
  std::int64_t num_thumbnails = 48;  // clips shown, spread evenly over the manifest
  std::filesystem::path media_root;  // where relative sources are looked for
};

// Atomic. A clip whose source cannot be shown is named with the reason, never left out.
void write_corpus_page(const std::filesystem::path& folder, const std::filesystem::path& page,
                       const PageOptions& options = {});

}  // namespace zoetrope::data
