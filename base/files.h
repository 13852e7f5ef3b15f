// Files read whole, published whole, and found again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zoetrope {

// Throws ConfigError naming the path when it cannot be read.
std::string read_file(const std::filesystem::path& path);

// Writes to PATH.tmp, fsyncs, renames over PATH, fsyncs the folder: a reader sees the old file or
// the new one, whole. Throws Error with the path and the system's reason; the old file then stays.
void write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

// The same for a file that `write` makes at the path it is given (PATH.tmp).
void publish_file(const std::filesystem::path& path,
                  const std::function<void(const std::filesystem::path&)>& write);

// Writes a file from its start, unbuffered: meant for large pieces. Throws Error with path and
// reason.
class FileWriter {
 public:
  explicit FileWriter(const std::filesystem::path& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  void close();  // reports what the system only tells at the end; call it before publishing

 private:
  std::filesystem::path path_;
  int fd_ = -1;
};

// Reads pieces of a file at offsets; each piece is one system call where the system allows it.
// Thread-safe; a copy has a descriptor of its own. DataError with path and reason: not a file, a
// piece beyond the end, a failing disk.
class FileReader {
 public:
  explicit FileReader(const std::filesystem::path& path);
  ~FileReader();
  FileReader(const FileReader& other);
  FileReader(FileReader&& other) noexcept;
  FileReader& operator=(const FileReader&) = delete;
  std::uint64_t size() const { return size_; }  // when it was opened
  void read(std::uint64_t offset, std::span<std::byte> bytes) const;

 private:
  std::filesystem::path path_;
  std::uint64_t size_ = 0;
  int fd_ = -1;
};

void fsync_path(const std::filesystem::path& path);  // a file or a folder

// XXH3-128 as 32 hex digits.
std::string hash_bytes(std::span<const std::byte> bytes);
std::string hash_text(std::string_view text);
std::string hash_file(const std::filesystem::path& path);

// Read-only memory map of a whole file. Movable.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// An exclusive lock on FOLDER/.lock for as long as it lives; throws ConfigError when another
// process holds it. `purpose` goes into the message ("another encode_dataset writes to FOLDER").
class FolderLock {
 public:
  FolderLock(const std::filesystem::path& folder, const std::string& purpose);
  explicit FolderLock(const std::filesystem::path& folder);  // waits until nobody holds it
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int fd_ = -1;
};

std::filesystem::path program_folder();  // of the running executable
// Where set-up keeps downloads: $ZOETROPE_CACHE, else $XDG_CACHE_HOME/zoetrope, else
// ~/.cache/zoetrope.
std::filesystem::path cache_folder();
// The shipped folder `name` ("configs", "model/pretrained"): from the source tree compiled in, or
// from PROGRAM/../share/zoetrope when installed. Throws Error when neither is there.
std::filesystem::path shipped_folder(const std::string& name);
// A config as typed; if there is none, among the shipped configs. ConfigError lists both places.
std::filesystem::path find_config(const std::string& name);
// A weights folder as typed, else model/pretrained/NAME; "minilm" is the one that set-up fetched.
std::filesystem::path find_weights(const std::string& name_or_folder);

}  // namespace zoetrope
