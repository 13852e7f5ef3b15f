// See media_file.h. libarchive reads the headers; since the tar is not compressed, a member's data
// lie in one piece behind its header.

#include "data/media_file.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <memory>

#include <archive.h>
#include <archive_entry.h>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kReadBytes = 1 << 16;

struct ArchiveFree {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
using UniqueArchive = std::unique_ptr<archive, ArchiveFree>;

std::string reason_of(archive* reader) {
  const char* text = archive_error_string(reader);
  return text == nullptr ? "unknown reason" : text;
}

UniqueArchive open_tar(const fs::path& tar) {
  UniqueArchive reader(archive_read_new());
  ZOETROPE_CHECK(reader != nullptr, "no memory for a tar reader");
  archive_read_support_format_tar(reader.get());
  const int code = archive_read_open_filename(reader.get(), tar.c_str(), kReadBytes);
  ZOETROPE_CHECK_DATA(code == ARCHIVE_OK, tar.string(),
                      ": no plain tar: ", reason_of(reader.get()));
  return reader;
}

// "" for a name that would leave the tar or cannot be written in one line.
std::string member_name(archive_entry* entry) {
  const char* text = archive_entry_pathname_utf8(entry);
  if (text == nullptr) text = archive_entry_pathname(entry);
  if (text == nullptr) return "";
  const std::string name = fs::path(text).lexically_normal().string();
  const bool control = std::any_of(name.begin(), name.end(), [](char letter) {
    return static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F;
  });
  const bool leaves = name.empty() || name[0] == '/' || name.compare(0, 2, "..") == 0;
  return control || leaves ? "" : name;
}

}  // namespace

void for_each_tar_member(const fs::path& tar, const std::function<void(const TarMember&)>& use) {
  const UniqueArchive reader = open_tar(tar);
  const auto tar_bytes = static_cast<std::int64_t>(fs::file_size(tar));
  std::int64_t num_seen = 0, num_left_out = 0;
  for (;; ++num_seen) {
    archive_entry* entry = nullptr;
    const int code = archive_read_next_header(reader.get(), &entry);
    if (code == ARCHIVE_EOF) break;
    if (code < ARCHIVE_WARN) {
      ZOETROPE_CHECK_DATA(num_seen > 0, tar.string(), ": no plain tar: ", reason_of(reader.get()));
      log_warn(tar.string(), ": ends early after ", num_seen,
               " members: ", reason_of(reader.get()));
      break;
    }
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != nullptr)
      continue;
    TarMember member{member_name(entry), archive_filter_bytes(reader.get(), 0),
                     archive_entry_size(entry)};
    member.bytes = std::min(member.bytes, tar_bytes - member.offset);  // a cut tar
    if (member.name.empty() || archive_entry_sparse_count(entry) > 0 || member.bytes < 0) {
      ++num_left_out;
    } else {
      use(member);
    }
  }
  if (num_left_out > 0)
    log_warn(tar.string(), ": ", num_left_out, " members are sparse or have impossible names");
}

bool is_tar(const fs::path& path) {
  std::string extension = path.extension().string();
  for (char& letter : extension)
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return extension == ".tar";
}

std::string read_media(const MediaFile& media, std::int64_t most) {
  std::ifstream in(media.path, std::ios::binary);
  std::string bytes(static_cast<std::size_t>(std::min(media.bytes, most)), '\0');
  in.seekg(media.offset);
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ZOETROPE_CHECK(in.gcount() == static_cast<std::streamsize>(bytes.size()), media.path.string(),
                 ": ", bytes.size(), " bytes at ", media.offset, " cannot be read");
  return bytes;
}

std::string hash_media(const MediaFile& media) {
  if (!media.is_member) return hash_file(media.path);
  const MappedFile file(media.path);
  const auto all = static_cast<std::int64_t>(file.bytes().size());
  ZOETROPE_CHECK(media.offset <= all && media.bytes <= all - media.offset, media.path.string(),
                 ": a member of ", media.bytes, " bytes at ", media.offset,
                 " ends behind the file");
  return hash_bytes(file.bytes().subspan(static_cast<std::size_t>(media.offset),
                                         static_cast<std::size_t>(media.bytes)));
}

std::optional<MediaFile> MediaFinder::find(const fs::path& path) {
  std::error_code error;
  if (fs::is_regular_file(path, error))
    return MediaFile{path, 0, static_cast<std::int64_t>(fs::file_size(path)), false};
  for (fs::path tar = path.parent_path(); tar.has_relative_path(); tar = tar.parent_path()) {
    if (!is_tar(tar) || !fs::is_regular_file(tar, error)) continue;
    const auto tar_bytes = static_cast<std::int64_t>(fs::file_size(tar));
    if (tar != tar_ || tar_bytes != tar_bytes_ || fs::last_write_time(tar) != tar_time_) {
      members_.clear();
      tar_.clear();
      for_each_tar_member(tar, [&](const TarMember& m) { members_.emplace(m.name, m); });
      tar_ = tar;
      tar_bytes_ = tar_bytes;
      tar_time_ = fs::last_write_time(tar);
    }
    const auto found = members_.find(path.lexically_relative(tar).string());
    if (found == members_.end()) return std::nullopt;
    return MediaFile{tar, found->second.offset, found->second.bytes, true};
  }
  return std::nullopt;
}

}  // namespace zoetrope::data
