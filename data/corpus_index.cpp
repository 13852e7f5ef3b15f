// Layout: clip entries, text entries, footer. The footer comes last because it sums up the rest.
#include "data/corpus_index.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/log.h"

static_assert(std::endian::native == std::endian::little, "the index is mapped as it is");

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

struct ClipEntry {
  std::uint64_t line;
  std::uint32_t frames;
  std::uint16_t height, width;
};
struct TextIndexEntry {
  std::array<std::uint8_t, 16> id;
  std::uint64_t line;
};
struct Footer {
  std::array<char, 16> magic;
  std::uint64_t manifest_bytes, texts_bytes;
  IndexTotals totals;
  std::array<char, 32> hash;  // hash_bytes of all before it
};
static_assert(sizeof(ClipEntry) == 16 && sizeof(TextIndexEntry) == 24 && sizeof(Footer) == 128);

constexpr std::array<char, 16> kMagic = {'z', 'o', 'e', 't', 'r', 'o', 'p', 'e',
                                         '-', 'i', 'n', 'd', 'e', 'x', '-', '1'};
constexpr std::size_t kWriteBytes = std::size_t{1} << 20;
constexpr std::uint64_t kMaxLineBytes = std::uint64_t{64} << 20;
constexpr int kMaxSide = std::numeric_limits<std::uint16_t>::max();

std::string hash_of(const Footer& footer) {
  return hash_bytes(std::as_bytes(std::span(&footer, 1)).first(offsetof(Footer, hash)));
}

// 32 lower-case hexadecimal digits, or nothing.
std::optional<std::array<std::uint8_t, 16>> parse_id(const std::string& text) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<std::uint8_t, 16> id{};
  if (text.size() != 32) return std::nullopt;
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t digit = kDigits.find(text[i]);
    if (digit == std::string_view::npos) return std::nullopt;
    id[i / 2] = static_cast<std::uint8_t>(id[i / 2] * 16 + digit);
  }
  return id;
}

// Calls `use(json, byte, place)` for each line with something on it; the size of the file.
template <class Use>
std::uint64_t for_each_placed_line(const fs::path& path, const Use& use) {
  const MappedFile map(path);
  const std::string_view all(reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size());
  std::int64_t number = 0;
  for (std::size_t from = 0; from < all.size();) {
    const std::size_t to = std::min(all.find('\n', from), all.size());
    const std::string_view line = all.substr(from, to - from);
    ++number;
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) {
      const std::string place = concat(path.string(), ":", number);
      const Json json = Json::parse(line, nullptr, false);
      ZOETROPE_CHECK_DATA(json.is_object(), place, ": not a JSON object");
      use(json, from, place);
    }
    from = to + 1;
  }
  return all.size();
}

Json read_line(const FileReader& file, const fs::path& path, std::uint64_t from, std::uint64_t to) {
  ZOETROPE_CHECK_DATA(from < to && to - from <= kMaxLineBytes, path.string(),
                      ": the index says that a line has bytes ", from, " to ", to);
  std::string text(to - from, '\0');
  file.read(from, std::as_writable_bytes(std::span(text)));
  Json json = Json::parse(text, nullptr, false);
  ZOETROPE_CHECK_DATA(json.is_object(), path.string(), ": no JSON object at byte ", from,
                      ", where the index says that a line starts");
  return json;
}

void write_entries(const fs::path& folder, const fs::path& path) {
  IndexWriter writer(path);
  std::string last_id;
  const std::uint64_t manifest_bytes =
      for_each_placed_line(folder / "manifest.jsonl",
                           [&](const Json& json, std::uint64_t from, const std::string& place) {
                             const ClipRecord clip = clip_from_json(json, place);
                             ZOETROPE_CHECK_DATA(last_id < clip.id, place, ": id ", clip.id,
                                                 " does not follow ", last_id);
                             last_id = clip.id;
                             writer.add_clip(from, clip.latent_shape(), place);
                           });
  const std::uint64_t texts_bytes = for_each_placed_line(
      folder / "texts.jsonl", [&](const Json& json, std::uint64_t from, const std::string& place) {
        writer.add_text(from, text_from_json(json, place).id, place);
      });
  writer.finish(manifest_bytes, texts_bytes);
}

Footer footer_of(const MappedFile& map, const fs::path& path) {
  const auto bytes = map.bytes();
  ZOETROPE_CHECK_DATA(bytes.size() >= sizeof(Footer), path.string(), " has ", bytes.size(),
                      " bytes: no index of a corpus");
  Footer footer;
  std::memcpy(&footer, bytes.data() + bytes.size() - sizeof footer, sizeof footer);
  ZOETROPE_CHECK_DATA(footer.magic == kMagic, path.string(),
                      " does not end as an index of this version does");
  ZOETROPE_CHECK_DATA(hash_of(footer) == std::string(footer.hash.begin(), footer.hash.end()),
                      path.string(), ": its footer is damaged");
  const IndexTotals& totals = footer.totals;
  constexpr std::int64_t kMost = std::int64_t{1} << 48;
  ZOETROPE_CHECK_DATA(
      totals.clips >= 0 && totals.clips < kMost && totals.texts >= 0 && totals.texts < kMost &&
          static_cast<std::uint64_t>(totals.clips) * sizeof(ClipEntry) +
                  static_cast<std::uint64_t>(totals.texts) * sizeof(TextIndexEntry) +
                  sizeof footer ==
              bytes.size(),
      path.string(), " has ", bytes.size(), " bytes, not those of ", totals.clips, " clips and ",
      totals.texts, " texts");
  return footer;
}

// Of the same manifest and texts, as far as sizes and times tell.
bool is_fresh(const fs::path& folder) {
  const fs::path index = folder / "index.bin";
  if (!fs::exists(index)) return false;
  for (const char* name : {"manifest.jsonl", "texts.jsonl"}) {
    if (fs::last_write_time(index) < fs::last_write_time(folder / name)) return false;
  }
  try {
    const Footer footer = footer_of(MappedFile(index), index);
    return footer.manifest_bytes == fs::file_size(folder / "manifest.jsonl") &&
           footer.texts_bytes == fs::file_size(folder / "texts.jsonl");
  } catch (const DataError& error) {
    log_warn(error.what());
    return false;
  }
}

fs::path fresh_index(const fs::path& folder) {
  for (const char* name : {"manifest.jsonl", "texts.jsonl"}) {
    ZOETROPE_CHECK_CONFIG(fs::exists(folder / name), (folder / name).string(),
                          " is missing: not a corpus, or encode_dataset has not finished it");
  }
  if (!is_fresh(folder)) {
    log_info("making the index of corpus ", folder.string());
    build_index(folder);
  }
  return folder / "index.bin";
}

}  // namespace

IndexWriter::IndexWriter(const fs::path& path) : file_(path) {}

template <class Entry>
void IndexWriter::put(const Entry& entry) {
  buffer_.append(reinterpret_cast<const char*>(&entry), sizeof entry);
  if (buffer_.size() < kWriteBytes) return;
  file_.write(buffer_);
  buffer_.clear();
}

void IndexWriter::add_clip(std::uint64_t line, const LatentShape& shape, const std::string& place) {
  ZOETROPE_CHECK_DATA(shape.frames >= 1 && shape.height >= 1 && shape.height <= kMaxSide &&
                          shape.width >= 1 && shape.width <= kMaxSide,
                      place, ": a latent of ", shape.frames, "x", shape.height, "x", shape.width,
                      " does not fit the index: sides up to ", kMaxSide);
  ZOETROPE_CHECK_DATA(totals_.clips == 0 || totals_.latent_channels == shape.channels, place, ": ",
                      shape.channels, " latent channels, the clips before have ",
                      totals_.latent_channels);
  put(ClipEntry{line, static_cast<std::uint32_t>(shape.frames),
                static_cast<std::uint16_t>(shape.height), static_cast<std::uint16_t>(shape.width)});
  const std::int64_t positions = std::int64_t{1} * shape.frames * shape.height * shape.width;
  ++totals_.clips;
  totals_.latent_channels = shape.channels;
  totals_.positions += positions;
  totals_.max_positions = std::max(totals_.max_positions, positions);
  auto& divisors = totals_.common_divisors;
  divisors = {std::gcd(divisors[0], shape.frames), std::gcd(divisors[1], shape.height),
              std::gcd(divisors[2], shape.width)};
}

void IndexWriter::add_text(std::uint64_t line, const std::string& id, const std::string& place) {
  const auto parsed = parse_id(id);
  ZOETROPE_CHECK_DATA(parsed.has_value(), place, ": the id \"", id,
                      "\" of a text is not 32 hexadecimal digits");
  ZOETROPE_CHECK_DATA(last_text_ < id, place, ": id ", id, " does not follow ", last_text_);
  last_text_ = id;
  put(TextIndexEntry{*parsed, line});
  ++totals_.texts;
}

void IndexWriter::finish(std::uint64_t manifest_bytes, std::uint64_t texts_bytes) {
  Footer footer{kMagic, manifest_bytes, texts_bytes, totals_, {}};
  const std::string hash = hash_of(footer);
  std::copy(hash.begin(), hash.end(), footer.hash.begin());
  put(footer);
  file_.write(buffer_);
  file_.close();
}

void build_index(const fs::path& folder) {
  char host[64] = "host";
  ::gethostname(host, sizeof host - 1);
  const fs::path mine = folder / concat("index.bin.", host, ".", ::getpid(), ".tmp");
  try {
    write_entries(folder, mine);
    fsync_path(mine);
    fs::rename(mine, folder / "index.bin");
  } catch (...) {
    std::error_code ignored;
    fs::remove(mine, ignored);
    throw;
  }
  fsync_path(folder);
}

CorpusIndex::CorpusIndex(const fs::path& folder)
    : folder_(folder),
      manifest_(fresh_index(folder).parent_path() / "manifest.jsonl"),
      texts_(folder / "texts.jsonl"),
      map_(folder / "index.bin"),
      totals_(footer_of(map_, folder / "index.bin").totals) {}

const std::byte* CorpusIndex::clip_entry(std::int64_t clip) const {
  ZOETROPE_CHECK(clip >= 0 && clip < totals_.clips, "clip ", clip, " of ", totals_.clips);
  return map_.bytes().data() + static_cast<std::size_t>(clip) * sizeof(ClipEntry);
}

const std::byte* CorpusIndex::text_entry(std::int64_t text) const {
  return map_.bytes().data() + static_cast<std::size_t>(totals_.clips) * sizeof(ClipEntry) +
         static_cast<std::size_t>(text) * sizeof(TextIndexEntry);
}

LatentShape CorpusIndex::shape(std::int64_t clip) const {
  ClipEntry entry;
  std::memcpy(&entry, clip_entry(clip), sizeof entry);
  ZOETROPE_CHECK_DATA(entry.frames >= 1 && entry.height >= 1 && entry.width >= 1 &&
                          entry.frames <= static_cast<std::uint32_t>(INT32_MAX),
                      (folder_ / "index.bin").string(), ": clip ", clip, " has a latent of ",
                      entry.frames, "x", entry.height, "x", entry.width, ": remove the file");
  return {static_cast<int>(totals_.latent_channels), static_cast<int>(entry.frames), entry.height,
          entry.width};
}

ClipRecord CorpusIndex::clip(std::int64_t clip) const {
  ClipEntry entry, next{manifest_.size(), 0, 0, 0};
  std::memcpy(&entry, clip_entry(clip), sizeof entry);
  if (clip + 1 < totals_.clips) std::memcpy(&next, clip_entry(clip + 1), sizeof next);
  const fs::path path = folder_ / "manifest.jsonl";
  const Json json = read_line(manifest_, path, entry.line, next.line);
  ClipRecord record = clip_from_json(json, concat(path.string(), " at byte ", entry.line));
  ZOETROPE_CHECK_DATA(record.latent_shape() == shape(clip), path.string(), " at byte ", entry.line,
                      ": clip ", record.id, " has another latent shape than in index.bin: remove ",
                      "that file");
  return record;
}

std::optional<ClipRecord> CorpusIndex::find(const std::string& id) const {
  std::int64_t low = 0, high = totals_.clips;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    ClipRecord record = clip(middle);
    if (record.id == id) return record;
    if (record.id < id) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return std::nullopt;
}

std::optional<TextEntry> CorpusIndex::text(const std::string& id) const {
  const auto wanted = parse_id(id);
  if (!wanted) return std::nullopt;
  const auto entry_at = [&](std::int64_t i) {
    TextIndexEntry entry;
    std::memcpy(&entry, text_entry(i), sizeof entry);
    return entry;
  };
  std::int64_t low = 0, high = totals_.texts;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (entry_at(middle).id < *wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == totals_.texts || entry_at(low).id != *wanted) return std::nullopt;
  const std::uint64_t from = entry_at(low).line;
  const std::uint64_t to = low + 1 < totals_.texts ? entry_at(low + 1).line : texts_.size();
  const fs::path path = folder_ / "texts.jsonl";
  TextEntry text =
      text_from_json(read_line(texts_, path, from, to), concat(path.string(), " at byte ", from));
  ZOETROPE_CHECK_DATA(text.id == id, path.string(), " at byte ", from, ": text ", text.id,
                      ", index.bin says ", id, ": remove that file");
  return text;
}

}  // namespace zoetrope::data
