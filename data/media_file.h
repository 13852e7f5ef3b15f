// A video's bytes: a file of its own, or a member of a tar as webdataset makes them, named
// "clips.tar/KEY.mp4". Members are read where they lie; nothing is unpacked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

namespace zoetrope::data {

// A stretch of a regular file. `is_member` false: all of it.
struct MediaFile {
  std::filesystem::path path;
  std::int64_t offset = 0, bytes = 0;
  bool is_member = false;
};

struct TarMember {
  std::string name;  // normalised: no "./", no ".."
  std::int64_t offset = 0, bytes = 0;
};

// Calls `use` for each regular member, in the order of the tar. Members that cannot be read in
// place (sparse ones, names with control characters or out of the tar) are passed over, and a tar
// that is cut ends early, both with a warning. DataError when the file is no plain (uncompressed)
// tar.
void for_each_tar_member(const std::filesystem::path& tar,
                         const std::function<void(const TarMember&)>& use);

bool is_tar(const std::filesystem::path& path);  // by name
// Up to `most` bytes of a stretch; Error with the path when they cannot be read.
std::string read_media(const MediaFile& media, std::int64_t most);
// XXH3-128 of the stretch, the same whether it lies in a tar or alone.
std::string hash_media(const MediaFile& media);

// Finds files by name. Remembers the members of the last tar, so ask tar by tar.
class MediaFinder {
 public:
  // Nothing when `path` is neither a regular file nor a member of a tar. DataError as above.
  std::optional<MediaFile> find(const std::filesystem::path& path);

 private:
  std::filesystem::path tar_;
  std::int64_t tar_bytes_ = 0;  // with the time, tells a tar that was written again
  std::filesystem::file_time_type tar_time_;
  std::map<std::string, TarMember> members_;
};

}  // namespace zoetrope::data
