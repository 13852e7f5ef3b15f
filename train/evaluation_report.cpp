// Turns scores, clips and a run's metrics into one page.
#include "train/evaluation_report.h"

#include <cstdio>

#include "base/error.h"
#include "data/plot.h"
#include "data/report.h"

namespace zoetrope::train {
namespace fs = std::filesystem;
namespace {

std::string format_number(const Json& value) {
  if (!value.is_number_float()) return value.dump();
  char text[32];
  std::snprintf(text, sizeof(text), "%.3f", value.get<double>());
  return text;
}

// One row a number; nested objects by dotted names; other values are left out.
void add_rows(const std::string& prefix, const Json& object,
              std::vector<std::vector<std::string>>& rows) {
  for (const auto& [name, value] : object.items()) {
    if (value.is_object()) add_rows(prefix + name + ".", value, rows);
    if (value.is_number()) rows.push_back({prefix + name, format_number(value)});
    if (value.is_array() && value.size() == 2 && value[0].is_number()) {
      rows.push_back({prefix + name, format_number(value[0]) + " .. " + format_number(value[1])});
    }
  }
}

// Loss of every step and its mean over the last kSmooth steps.
data::Frames loss_curve(const fs::path& metrics) {
  constexpr std::size_t kSmooth = 50;
  data::PlotSeries steps{"every step", {}, {}}, mean{"mean of 50", {}, {}};
  double sum = 0;
  for_each_json_line(metrics, [&](const Json& line, int) {
    if (!line.contains("loss") || !line["loss"].is_number()) return;
    steps.x.push_back(line.at("step").get<double>());
    steps.y.push_back(line.at("loss").get<double>());
    sum += steps.y.back();
    const std::size_t count = steps.y.size();
    if (count > kSmooth) sum -= steps.y[count - 1 - kSmooth];
    mean.x.push_back(steps.x.back());
    mean.y.push_back(sum / static_cast<double>(std::min(count, kSmooth)));
  });
  data::PlotOptions options;
  options.title = "training loss";
  options.x_label = "step";
  options.y_label = "loss";
  return data::draw_plot({steps, mean}, options);
}

}  // namespace

void write_evaluation_report(const fs::path& output, const std::string& title, const Json& summary,
                             const std::vector<data::SheetRow>& rows, const std::string& command,
                             const fs::path& run_folder) {
  const data::Frames sheet = data::contact_sheet(rows);
  data::write_png(output / "contact_sheet.png", sheet.rgb.data(), sheet.height, sheet.width);
  data::ReportTable scores{"Scores", {"what", "value"}, {}};
  add_rows("", summary, scores.rows);

  data::Report report{title, {}};
  report.sections.push_back({"Scores", {scores}});
  report.sections.push_back(
      {"Clips", {data::ReportImage{sheet, "one row a clip, time to the right"}}});
  if (!run_folder.empty() && fs::exists(run_folder / "metrics.jsonl")) {
    report.sections.push_back(
        {"Training",
         {data::ReportImage{loss_curve(run_folder / "metrics.jsonl"), "training loss"}}});
  }
  report.sections.push_back({"Command", {data::ReportCommands{{command}}}});
  data::write_report(output / "report.html", report);
}

}  // namespace zoetrope::train
