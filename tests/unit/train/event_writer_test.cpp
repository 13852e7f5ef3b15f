// Event files against known bytes; tests/golden/check_events.py reads them with TensorBoard's own
// reader.
#include "train/event_writer.h"

#include <cstring>

#include <gtest/gtest.h>

#include "base/files.h"

namespace zoetrope::train {
namespace {

TEST(EventWriter, ChecksumIsCrc32C) {
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);  // the check value of the Castagnoli polynomial
  EXPECT_EQ(crc32c(std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720, B.4
}

TEST(EventWriter, FramesEachEventAsATfRecord) {
  const auto folder = std::filesystem::temp_directory_path() / "zoetrope_event_writer_test";
  std::filesystem::remove_all(folder);
  {
    EventWriter writer(folder);
    writer.scalar("train/loss", 0.5, 300);
  }
  const auto file = std::filesystem::directory_iterator(folder)->path();
  const std::string bytes = read_file(file);
  std::size_t at = 0, records = 0;
  while (at < bytes.size()) {
    std::uint64_t length = 0;
    ASSERT_LE(at + 12, bytes.size());
    std::memcpy(&length, bytes.data() + at, 8);
    at += 12 + length + 4;
    ++records;
  }
  EXPECT_EQ(at, bytes.size());
  EXPECT_EQ(records, 2u);  // the version and the scalar
  EXPECT_NE(bytes.find("brain.Event:2"), std::string::npos);
  EXPECT_NE(bytes.find("train/loss"), std::string::npos);
  EXPECT_NE(bytes.find("\x10\xAC\x02"), std::string::npos);  // step 300 as a varint of field 2
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace zoetrope::train
