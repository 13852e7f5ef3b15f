// One pread a record, its checksum, its values.
#include "data/record_reader.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "data/half_float.h"
#include "data/manifest.h"

static_assert(std::endian::native == std::endian::little, "records are read into memory as it is");

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChecksumBytes = 4;
constexpr std::size_t kMaxValues = std::size_t{1} << 30;  // as in a shard

}  // namespace

std::uint32_t fletcher32(std::span<const std::byte> bytes) {
  constexpr std::size_t kWordsUntilFold = 360;  // the sums of so many words fit 32 bits
  std::uint32_t low = 0, high = 0;
  const auto fold = [&] {
    low = (low & 0xffffu) + (low >> 16);
    high = (high & 0xffffu) + (high >> 16);
  };
  std::size_t at = 0;
  while (bytes.size() - at >= 2) {
    const std::size_t end = at + 2 * std::min(kWordsUntilFold, (bytes.size() - at) / 2);
    for (; at < end; at += 2) {
      low += (std::to_integer<std::uint32_t>(bytes[at]) << 8) |
             std::to_integer<std::uint32_t>(bytes[at + 1]);
      high += low;
    }
    fold();
  }
  if (at < bytes.size()) {
    low += std::to_integer<std::uint32_t>(bytes[at]) << 8;
    high += low;
    fold();
  }
  fold();
  return (high << 16) | low;
}

RecordReader::RecordReader(fs::path folder, const RecordReaderOptions& options)
    : folder_(std::move(folder)),
      wait_s_(options.wait_s),
      files_(std::max<std::int64_t>(options.max_open_files, 1)) {
  if (!options.cache_folder.empty()) {
    cache_.emplace(folder_, options.cache_folder, options.cache_bytes);
  }
}

// A descriptor of this read's own: another thread may push the file out meanwhile.
FileReader RecordReader::open(const std::string& file) {
  {
    const std::scoped_lock lock(mutex_);
    if (const FileReader* kept = files_.find(file)) return *kept;
  }
  if (!cache_) wait_until_visible([&] { return fs::exists(folder_ / file); }, wait_s_);
  FileReader reader = cache_ ? cache_->open(file) : FileReader(folder_ / file);
  const std::scoped_lock lock(mutex_);
  files_.insert(file, reader, 1);
  return reader;
}

std::vector<float> RecordReader::read(const std::string& file, std::int64_t offset,
                                      std::size_t num_values, const std::string& id) {
  const std::string place = concat((folder_ / file).string(), ": record \"", id, "\"");
  ZOETROPE_CHECK_DATA(offset > 0 && num_values > 0 && num_values <= kMaxValues, place, ": ",
                      num_values, " values at byte ", offset, " are out of range");
  const std::size_t num_bytes = num_values * sizeof(std::uint16_t);
  std::vector<std::uint16_t> halves(num_values + kChecksumBytes / sizeof(std::uint16_t));
  const auto bytes = std::as_writable_bytes(std::span(halves));
  try {
    open(file).read(static_cast<std::uint64_t>(offset), bytes);
  } catch (const DataError& error) {
    throw DataError(concat("record \"", id, "\": ", error.what()));
  }
  std::uint32_t stored = 0;
  std::memcpy(&stored, bytes.data() + num_bytes, kChecksumBytes);
  const std::uint32_t found = fletcher32(bytes.first(num_bytes));
  ZOETROPE_CHECK_DATA(found == stored, place, ": its checksum is ", found, ", the shard says ",
                      stored);
  std::vector<float> values(num_values);
  for (std::size_t i = 0; i < num_values; ++i) {
    values[i] = half_to_float(halves[i]);
    ZOETROPE_CHECK_DATA(std::isfinite(values[i]), place, ": value ", i, " is ", values[i]);
  }
  return values;
}

}  // namespace zoetrope::data
