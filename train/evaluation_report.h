// What evaluate shows a person: contact sheet, loss curve, scores and the command, in one
// report.html.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/json.h"
#include "data/video_writer.h"

namespace zoetrope::train {

inline constexpr std::size_t kMaxSheetRows = 16;

// Writes contact_sheet.png and report.html into `output`; with the loss curve when `run_folder` has
// a metrics.jsonl. `summary`: a flat object of numbers, or of objects of numbers.
void write_evaluation_report(const std::filesystem::path& output, const std::string& title,
                             const Json& summary, const std::vector<data::SheetRow>& rows,
                             const std::string& command, const std::filesystem::path& run_folder);

}  // namespace zoetrope::train
