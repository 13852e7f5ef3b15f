// Metrics to metrics.jsonl, TensorBoard and the console.
#include "train/metrics.h"

#include <cstdio>
#include <numeric>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"

namespace zoetrope::train {
namespace {

void drop_lines_after(const std::filesystem::path& path, std::int64_t step) {
  if (!std::filesystem::exists(path)) return;
  std::string kept;
  for_each_json_line(path, [&](const Json& line, int) {
    if (line.at("step").get<std::int64_t>() <= step) kept += line.dump() + "\n";
  });
  write_file_atomically(path, kept);
}

Json to_json(const StepMetrics& m) {
  Json json{{"step", m.step},
            {"loss", m.loss},
            {"grad_norm", m.grad_norm},
            {"lr", m.lr},
            {"step_time_s", m.step_time_s},
            {"data_wait_s", m.data_wait_s},
            {"samples", m.samples},
            {"tokens", m.tokens},
            {"tflops", m.tflops},
            {"balance", m.balance},
            {"skipped", m.skipped}};
  if (m.mfu > 0) json["mfu"] = m.mfu;
  for (const auto& [name, value] : m.parts) json[name] = value;
  return json;
}

}  // namespace

MetricsWriter::MetricsWriter(const std::filesystem::path& run_folder, std::int64_t first_step,
                             std::int64_t total_steps, std::int64_t log_every_steps)
    : events_(run_folder / "tensorboard"),
      first_step_(first_step),
      total_steps_(total_steps),
      log_every_steps_(log_every_steps) {
  const auto open = [&](std::ofstream& file, const char* name) {
    drop_lines_after(run_folder / name, first_step);
    file.open(run_folder / name, std::ios::app);
    ZOETROPE_CHECK(file.good(), "cannot write ", (run_folder / name).string());
  };
  open(lines_, "metrics.jsonl");
  open(left_out_, "skipped.jsonl");
}

void MetricsWriter::write(const StepMetrics& m) {
  lines_ << to_json(m).dump() << std::endl;
  events_.scalar("train/loss", m.loss, m.step);
  events_.scalar("train/grad_norm", m.grad_norm, m.step);
  events_.scalar("train/lr", m.lr, m.step);
  events_.scalar("speed/step_time_s", m.step_time_s, m.step);
  events_.scalar("speed/data_wait_s", m.data_wait_s, m.step);
  events_.scalar("speed/tflops", m.tflops, m.step);
  if (m.mfu > 0) events_.scalar("speed/mfu", m.mfu, m.step);
  for (const auto& [name, value] : m.parts) events_.scalar("train/" + name, value, m.step);
  events_.flush();

  seconds_ += m.step_time_s;
  if (m.step % log_every_steps_ != 0 && m.step != total_steps_ && m.step != first_step_ + 1) return;
  const double mean_s = seconds_ / static_cast<double>(m.step - first_step_);
  char flops[32] = "", mfu[32] = "";  // 0 where the task does not count them
  if (m.tflops > 0) std::snprintf(flops, sizeof(flops), "  %.3f TFLOP/s", m.tflops);
  if (m.mfu > 0) std::snprintf(mfu, sizeof(mfu), "  MFU %.1f%%", 100 * m.mfu);
  char line[256];
  std::snprintf(line, sizeof(line),
                "step %lld/%lld  loss %.4f  grad %.3f  lr %.2e  %.3f s/step  %.1f samples/s  "
                "%.0f tokens/s%s%s  wait %.0f%%  balance %.3f  ETA %s",
                static_cast<long long>(m.step), static_cast<long long>(total_steps_), m.loss,
                m.grad_norm, m.lr, m.step_time_s, static_cast<double>(m.samples) / m.step_time_s,
                static_cast<double>(m.tokens) / m.step_time_s, flops, mfu,
                100 * m.data_wait_s / m.step_time_s, m.balance,
                format_duration(mean_s * static_cast<double>(total_steps_ - m.step)).c_str());
  log_info(line);
}

void MetricsWriter::write_left_out(const Json& what) {
  left_out_ << what.dump() << std::endl;
}

void MetricsWriter::write_validation(std::int64_t step, const std::vector<double>& loss_by_t,
                                     double seconds) {
  const double mean = std::accumulate(loss_by_t.begin(), loss_by_t.end(), 0.0) /
                      static_cast<double>(loss_by_t.size());
  lines_ << Json{{"step", step},
                 {"val_loss", mean},
                 {"val_loss_by_t", loss_by_t},
                 {"val_time_s", seconds}}
                .dump()
         << std::endl;
  events_.scalar("validation/loss", mean, step);
  for (std::size_t i = 0; i < loss_by_t.size(); ++i) {
    events_.scalar("validation/loss_t" + std::to_string(i), loss_by_t[i], step);
  }
  events_.flush();
  log_info("step ", step, ": held-out loss ", mean, " in ", seconds, " s");
}

}  // namespace zoetrope::train
