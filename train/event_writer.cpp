// TFRecord framing and the few protobuf fields that a scalar needs.
#include "train/event_writer.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace zoetrope::train {
namespace {

std::array<std::uint32_t, 256> make_table() {
  constexpr std::uint32_t kReflectedPolynomial = 0x82F63B78;
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1) ^ ((value & 1) ? kReflectedPolynomial : 0);
    }
    table[byte] = value;
  }
  return table;
}

// TFRecord stores checksums rotated and offset, so that a CRC over data holding CRCs stays sound.
std::uint32_t masked_crc(const std::string& bytes) {
  const std::uint32_t crc = crc32c(bytes);
  return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

template <class T>
std::string little_endian(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

std::string varint(std::uint64_t value) {
  std::string bytes;
  while (value >= 0x80) {
    bytes.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

enum WireType { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };

std::string key(int field, WireType type) {
  return varint(static_cast<std::uint64_t>(field) << 3 | type);
}
std::string message(int field, const std::string& bytes) {
  return key(field, kLengthDelimited) + varint(bytes.size()) + bytes;
}

// Event { double wall_time = 1; int64 step = 2; string file_version = 3; Summary summary = 5; }
std::string event_start() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return key(1, kFixed64) + little_endian(std::chrono::duration<double>(now).count());
}

}  // namespace

std::uint32_t crc32c(const std::string& bytes) {
  static const auto table = make_table();
  std::uint32_t crc = 0xFFFFFFFF;
  for (const unsigned char byte : bytes) crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

EventWriter::EventWriter(const std::filesystem::path& folder) {
  std::filesystem::create_directories(folder);
  char host[256] = "host";
  gethostname(host, sizeof(host) - 1);
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(
      std::chrono::system_clock::now().time_since_epoch());
  const auto path =
      folder / concat("events.out.tfevents.", seconds.count(), ".", host, ".", getpid());
  file_.open(path, std::ios::binary);
  ZOETROPE_CHECK(file_.good(), "cannot write ", path.string());
  write_record(event_start() + message(3, "brain.Event:2"));
}

void EventWriter::scalar(const std::string& tag, double value, std::int64_t step) {
  // Summary { repeated Value { string tag = 1; float simple_value = 2; } value = 1; }
  const std::string point =
      message(1, tag) + key(2, kFixed32) + little_endian(static_cast<float>(value));
  write_record(event_start() + key(2, kVarint) + varint(static_cast<std::uint64_t>(step)) +
               message(5, message(1, point)));
}

void EventWriter::flush() {
  file_.flush();
}

void EventWriter::write_record(const std::string& event) {
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  file_ << length << little_endian(masked_crc(length)) << event << little_endian(masked_crc(event));
}

}  // namespace zoetrope::train
