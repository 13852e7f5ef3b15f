// Tables with bars for the counts; a picture from the middle of each clip.
#include "data/corpus_page.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "data/corpus.h"
#include "data/corpus_summary.h"
#include "data/report.h"
#include "data/video_reader.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxBars = 24;
constexpr int kBarWidth = 40;
constexpr std::int64_t kThumbnailPixels = 160 * 120;
constexpr std::size_t kRejectsShown = 100;

// [{"size": "64x64", "clips": 12}, ...] as a table with a bar of blocks a row.
ReportTable bar_table(const std::string& caption, const Json& rows) {
  ReportTable table{caption, {}, {}};
  if (rows.empty()) return table;
  for (const auto& item : rows[0].items()) table.columns.push_back(item.key());
  table.columns.emplace_back("");
  std::int64_t most = 1, left = 0;
  for (const Json& row : rows) most = std::max(most, row.back().get<std::int64_t>());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto count = rows[i].back().get<std::int64_t>();
    if (i >= kMaxBars) {
      left += count;
      continue;
    }
    const auto length = static_cast<std::size_t>(
        std::ceil(kBarWidth * static_cast<double>(count) / static_cast<double>(most)));
    const Json& key = rows[i].front();
    table.rows.push_back({key.is_string() ? key.get<std::string>() : key.dump(),
                          std::to_string(count), std::string(length, '=')});
  }
  if (left > 0) {
    table.rows.push_back(
        {concat(rows.size() - kMaxBars, " others"), std::to_string(left), std::string()});
  }
  return table;
}

ReportTable count_table(const Json& summary) {
  ReportTable table{"", {"what", "how much"}, {}};
  for (const char* name : {"clips", "images", "sources", "frames", "seconds", "captions",
                           "clips_without_caption", "latent_positions", "rejected"}) {
    table.rows.push_back({name, summary.at(name).dump()});
  }
  for (const char* part : {"texts", "shards"}) {
    for (const auto& [name, value] : summary.at(part).items()) {
      if (value.is_number()) table.rows.push_back({concat(part, ": ", name), value.dump()});
    }
  }
  return table;
}

// A frame from the middle of the clip, or why there is none.
OrSkip<Frames> thumbnail(VideoReader& reader, const ClipRecord& clip, const fs::path& media_root) {
  DecodeRequest request;
  request.path = media_root / clip.source;
  request.start_s = (clip.start_s + clip.end_s) / 2;
  request.max_frames = 1;
  request.max_pixels = kThumbnailPixels;
  OrSkip<Frames> decoded = reader.read(request);
  if (std::holds_alternative<Frames>(decoded) || clip.is_image()) return decoded;
  request.start_s = clip.start_s;  // of two frames the last may begin before the middle
  return reader.read(request);
}

ReportSection clip_section(const fs::path& folder, const PageOptions& options) {
  ReportSection section{"Clips", {}};
  const Corpus corpus(folder, {.wait_s = 0});
  VideoReader reader;
  const std::int64_t clips = corpus.totals().clips;
  const std::int64_t shown = std::min(std::max<std::int64_t>(options.num_thumbnails, 0), clips);
  for (std::int64_t i = 0; i < shown; ++i) {
    const ClipRecord clip = corpus.clip(i * clips / shown);
    const std::string words = clip.captions.empty() ? "no caption" : clip.captions.front();
    const std::string caption = concat(clip.source, ", ", clip.width, "x", clip.height, ", ",
                                       clip.frames, " frames, ", clip.fps, " fps: ", words);
    auto picture = thumbnail(reader, clip, options.media_root);
    if (auto* frames = std::get_if<Frames>(&picture)) {
      section.blocks.push_back(ReportImage{std::move(*frames), caption});
    } else {
      const auto& reason = std::get<SkipReason>(picture);
      section.blocks.push_back(
          ReportText{concat("No picture (", reason.code, ", ", reason.detail, "): ", caption)});
    }
  }
  return section;
}

ReportSection reject_section(const fs::path& folder, const Json& summary) {
  ReportSection section{"Left out", {bar_table("By reason", summary.at("rejects"))}};
  ReportTable table{"The first of them", {"source", "reason", "detail"}, {}};
  for (const Reject& reject : read_rejects(folder)) {
    if (table.rows.size() == kRejectsShown) break;
    table.rows.push_back({reject.source, reject.code, reject.detail});
  }
  if (!table.rows.empty()) section.blocks.push_back(table);
  return section;
}

}  // namespace

void write_corpus_page(const fs::path& folder, const fs::path& page, const PageOptions& options) {
  const Json summary = summarise_corpus(folder);
  Report report{concat("Corpus ", folder.string()), {}};
  report.sections.push_back(
      {"Counts", {count_table(summary), ReportCommands{{summary.at("header").dump()}}}});
  report.sections.push_back(
      {"Histograms",
       {bar_table("Sizes", summary.at("sizes")), bar_table("Lengths", summary.at("lengths")),
        bar_table("Aspects", summary.at("aspects"))}});
  report.sections.push_back(reject_section(folder, summary));
  if (!summary.at("shards").at("bad").empty()) {
    ReportTable bad{"Bad shards", {"file", "reason", "records lost"}, {}};
    for (const Json& shard : summary.at("shards").at("bad")) {
      bad.rows.push_back({shard.at("file").get<std::string>(),
                          shard.at("reason").get<std::string>(), shard.at("records_lost").dump()});
    }
    report.sections.push_back({"Damage", {bad}});
  }
  report.sections.push_back(clip_section(folder, options));
  write_report(page, report);
}

}  // namespace zoetrope::data
