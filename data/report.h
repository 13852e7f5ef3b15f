// A report as one HTML file that opens anywhere: text, commands, tables and pictures are inside it,
// videos lie beside it and are named by relative paths. All text is escaped; nothing is fetched, no
// script runs.
#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "data/frames.h"

namespace zoetrope::data {

struct ReportText {
  std::string text;  // paragraphs are parted by an empty line
};
struct ReportCommands {
  std::vector<std::string> lines;  // shown as typed
};
struct ReportTable {
  std::string caption;
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>>
      rows;  // as many cells as columns; numbers are right-aligned
};
struct ReportImage {
  Frames picture;  // the first frame is embedded as PNG
  std::string caption;
};
struct ReportVideo {
  std::filesystem::path file;  // must exist
  std::string caption;
};

using ReportBlock = std::variant<ReportText, ReportCommands, ReportTable, ReportImage, ReportVideo>;

// Blocks appear in their order; neighbouring videos and pictures share a row as far as they fit.
struct ReportSection {
  std::string title;
  std::vector<ReportBlock> blocks;
};

struct Report {
  std::string title;
  std::vector<ReportSection> sections;
};

// Atomic. Throws Error for a table row of another length than its columns, or a video that is
// missing.
void write_report(const std::filesystem::path& path, const Report& report);

std::string escape_html(const std::string& text);  // & < > " '

}  // namespace zoetrope::data
