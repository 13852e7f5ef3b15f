// TensorBoard event files: TFRecord framing (length, masked CRC-32C, data, masked CRC-32C) around
// hand-encoded Event protobufs with scalar summaries. W&B and Aim import the same files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace zoetrope::train {

class EventWriter {
 public:
  // Creates FOLDER/events.out.tfevents.SECONDS.HOST.
  explicit EventWriter(const std::filesystem::path& folder);
  void scalar(const std::string& tag, double value, std::int64_t step);
  void flush();

 private:
  void write_record(const std::string& event);
  std::ofstream file_;
};

// CRC-32C (Castagnoli), reflected, initial and final value inverted.
std::uint32_t crc32c(const std::string& bytes);

}  // namespace zoetrope::train
