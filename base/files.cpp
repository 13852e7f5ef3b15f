// Files through POSIX calls, so that fsync, rename and flock keep the promises of the header.
#include "base/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/options.h"

namespace zoetrope {
namespace {

namespace fs = std::filesystem;

std::string system_reason(int code) {
  return std::strerror(code);
}

// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor(const fs::path& path, int flags) {
    do {
      fd_ = ::open(path.c_str(), flags | O_CLOEXEC, 0666);
    } while (fd_ < 0 && errno == EINTR);
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// Reads on until `buffer` is full or the file ends; returns the bytes read.
std::size_t read_some(int fd, std::span<char> buffer, const fs::path& path) {
  std::size_t got = 0;
  while (got < buffer.size()) {
    ssize_t count = ::read(fd, buffer.data() + got, buffer.size() - got);
    if (count < 0 && errno == EINTR) continue;
    ZOETROPE_CHECK_CONFIG(count >= 0, "cannot read ", path, ": ", system_reason(errno));
    if (count == 0) break;
    got += static_cast<std::size_t>(count);
  }
  return got;
}

std::string hex_of(XXH128_hash_t hash) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, hash);
  static const char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned char byte : canonical.digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

fs::path folder_of(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

int open_lock(const fs::path& folder) {
  int fd = ::open((folder / ".lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  ZOETROPE_CHECK(fd >= 0, "cannot lock ", folder, ": ", system_reason(errno));
  return fd;
}

// Where shipped weights of this name are, or would be.
fs::path shipped_weights(const std::string& name) {
  return shipped_folder("model") / "pretrained" / name;
}

}  // namespace

std::string read_file(const fs::path& path) {
  Descriptor file(path, O_RDONLY);
  ZOETROPE_CHECK_CONFIG(file.get() >= 0, "cannot open ", path, ": ", system_reason(errno));
  std::string bytes;
  constexpr std::size_t kChunk = 1 << 20;
  for (std::size_t got = kChunk; got == kChunk;) {
    std::size_t size = bytes.size();
    bytes.resize(size + kChunk);
    got = read_some(file.get(), {bytes.data() + size, kChunk}, path);
    bytes.resize(size + got);
  }
  return bytes;
}

FileWriter::FileWriter(const fs::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  ZOETROPE_CHECK(fd_ >= 0, "cannot write ", path, ": ", system_reason(errno));
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

void FileWriter::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    ZOETROPE_CHECK(count >= 0, "cannot write ", path_, ": ", system_reason(errno));
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void FileWriter::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void FileWriter::close() {
  int status = ::close(std::exchange(fd_, -1));
  ZOETROPE_CHECK(status == 0, "cannot write ", path_, ": ", system_reason(errno));
}

FileReader::FileReader(const fs::path& path) : path_(path) {
  do {
    fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  } while (fd_ < 0 && errno == EINTR);
  ZOETROPE_CHECK_DATA(fd_ >= 0, "cannot open ", path.string(), ": ", system_reason(errno));
  struct stat info {};
  if (::fstat(fd_, &info) == 0 && S_ISREG(info.st_mode)) {
    size_ = static_cast<std::uint64_t>(info.st_size);
    return;
  }
  ::close(std::exchange(fd_, -1));
  throw DataError(concat(path.string(), " is not a file"));
}

FileReader::~FileReader() {
  if (fd_ >= 0) ::close(fd_);
}

FileReader::FileReader(const FileReader& other)
    : path_(other.path_), size_(other.size_), fd_(::fcntl(other.fd_, F_DUPFD_CLOEXEC, 0)) {
  ZOETROPE_CHECK(fd_ >= 0, "cannot open ", path_.string(), " again: ", system_reason(errno));
}

FileReader::FileReader(FileReader&& other) noexcept
    : path_(std::move(other.path_)), size_(other.size_), fd_(std::exchange(other.fd_, -1)) {}

void FileReader::read(std::uint64_t offset, std::span<std::byte> bytes) const {
  ZOETROPE_CHECK_DATA(offset <= size_ && bytes.size() <= size_ - offset, path_.string(), ": bytes ",
                      offset, " to ", offset + bytes.size(), " are beyond its end at ", size_);
  while (!bytes.empty()) {
    const ssize_t count = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    ZOETROPE_CHECK_DATA(count > 0, "cannot read ", path_.string(), " at byte ", offset, ": ",
                        count == 0 ? "it has become shorter" : system_reason(errno));
    offset += static_cast<std::uint64_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  publish_file(path, [&](const fs::path& temporary) {
    FileWriter out(temporary);
    out.write(bytes);
    out.close();
  });
}

void publish_file(const fs::path& path, const std::function<void(const fs::path&)>& write) {
  fs::path temporary = path;
  temporary += ".tmp";
  try {
    write(temporary);
    fsync_path(temporary);
    int status = ::rename(temporary.c_str(), path.c_str());
    ZOETROPE_CHECK(status == 0, "cannot rename ", temporary, " to ", path, ": ",
                   system_reason(errno));
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  fsync_path(folder_of(path));
}

void fsync_path(const fs::path& path) {
  Descriptor file(path, O_RDONLY);
  ZOETROPE_CHECK(file.get() >= 0, "cannot open ", path, ": ", system_reason(errno));
  int status = ::fsync(file.get());
  // Some network file systems cannot sync a folder; they order renames themselves.
  bool folder_unsupported = status != 0 && (errno == EINVAL || errno == ENOTSUP);
  ZOETROPE_CHECK(status == 0 || (folder_unsupported && fs::is_directory(path)), "cannot sync ",
                 path, ": ", system_reason(errno));
}

std::string hash_bytes(std::span<const std::byte> bytes) {
  return hex_of(XXH3_128bits(bytes.data(), bytes.size()));
}

std::string hash_text(std::string_view text) {
  return hash_bytes(std::as_bytes(std::span(text)));
}

std::string hash_file(const fs::path& path) {
  Descriptor file(path, O_RDONLY);
  ZOETROPE_CHECK_CONFIG(file.get() >= 0, "cannot open ", path, ": ", system_reason(errno));
  std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(),
                                                                 &XXH3_freeState);
  ZOETROPE_CHECK(state != nullptr && XXH3_128bits_reset(state.get()) == XXH_OK,
                 "no memory to hash ", path);
  std::vector<char> buffer(1 << 20);
  for (std::size_t got = buffer.size(); got == buffer.size();) {
    got = read_some(file.get(), buffer, path);
    XXH3_128bits_update(state.get(), buffer.data(), got);
  }
  return hex_of(XXH3_128bits_digest(state.get()));
}

MappedFile::MappedFile(const fs::path& path) {
  Descriptor file(path, O_RDONLY);
  ZOETROPE_CHECK_CONFIG(file.get() >= 0, "cannot open ", path, ": ", system_reason(errno));
  struct stat info {};
  ZOETROPE_CHECK_CONFIG(::fstat(file.get(), &info) == 0 && S_ISREG(info.st_mode), path,
                        " is not a file");
  size_ = static_cast<std::size_t>(info.st_size);
  if (size_ == 0) return;  // mmap refuses an empty range
  void* address = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file.get(), 0);
  ZOETROPE_CHECK(address != MAP_FAILED, "cannot map ", path, " (", size_,
                 " bytes): ", system_reason(errno));
  data_ = static_cast<const std::byte*>(address);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

FolderLock::FolderLock(const fs::path& folder, const std::string& purpose)
    : fd_(open_lock(folder)) {
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) return;
  int code = errno;
  ::close(std::exchange(fd_, -1));
  ZOETROPE_CHECK_CONFIG(code != EWOULDBLOCK, "another ", purpose, " writes to ", folder,
                        " (it holds ", folder / ".lock", ")");
  throw Error(concat("cannot lock ", folder, ": ", system_reason(code)));
}

FolderLock::FolderLock(const fs::path& folder) : fd_(open_lock(folder)) {
  int status = 0;
  do {
    status = ::flock(fd_, LOCK_EX);
  } while (status != 0 && errno == EINTR);
  if (status == 0) return;
  int code = errno;
  ::close(std::exchange(fd_, -1));
  throw Error(concat("cannot lock ", folder, ": ", system_reason(code)));
}

FolderLock::~FolderLock() {
  if (fd_ >= 0)
    ::close(fd_);  // releases the lock; the file stays, or two could lock different files
}

fs::path program_folder() {
  return fs::read_symlink("/proc/self/exe").parent_path();
}

fs::path cache_folder() {
  auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (auto own = variable("ZOETROPE_CACHE"); !own.empty()) return own;
  if (auto cache = variable("XDG_CACHE_HOME"); !cache.empty()) return fs::path(cache) / "zoetrope";
  auto home = variable("HOME");
  ZOETROPE_CHECK_CONFIG(!home.empty(), "no cache folder: set ZOETROPE_CACHE or HOME");
  return fs::path(home) / ".cache" / "zoetrope";
}

fs::path shipped_folder(const std::string& name) {
  fs::path in_source = fs::path(ZOETROPE_SOURCE_FOLDER) / name;
  if (fs::is_directory(in_source)) return in_source;
  fs::path installed = program_folder().parent_path() / "share" / "zoetrope" / name;
  ZOETROPE_CHECK(fs::is_directory(installed), "the shipped folder ", name, " is neither at ",
                 in_source, " nor at ", installed);
  return installed;
}

fs::path find_config(const std::string& name) {
  if (fs::is_regular_file(name)) return name;
  ZOETROPE_CHECK_CONFIG(!fs::exists(name), "config ", name, " is not a file");
  fs::path configs = shipped_folder("configs");
  fs::path shipped = configs / name;
  if (!name.empty() && fs::is_regular_file(shipped)) return shipped;
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(configs)) {
    if (entry.is_regular_file()) names.push_back(entry.path().filename().string());
  }
  std::string near = nearest_name(name, names);
  throw ConfigError(concat("no config ", name, ": neither ", fs::absolute(name), " nor ", shipped,
                           " is a file", near.empty() ? "" : "; did you mean " + near + "?"));
}

fs::path find_weights(const std::string& name_or_folder) {
  ZOETROPE_CHECK_CONFIG(!name_or_folder.empty(), "an empty name for a folder of weights");
  if (fs::is_directory(name_or_folder)) return name_or_folder;
  ZOETROPE_CHECK_CONFIG(!fs::exists(name_or_folder), name_or_folder,
                        " is a file; expected a folder of weights");
  fs::path other =
      name_or_folder == "minilm" ? cache_folder() / "minilm" : shipped_weights(name_or_folder);
  ZOETROPE_CHECK_CONFIG(fs::is_directory(other), "no weights ", name_or_folder, ": neither ",
                        fs::absolute(name_or_folder), " nor ", other, " is a folder");
  return other;
}

}  // namespace zoetrope
