// Preloaded into a program, makes its calls of $FAIL_CALL (read, write or fsync) fail on files
// whose path contains $FAIL_PATH, as a dying or full disk does.
#include <dlfcn.h>
#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

bool fails(const char* call, int file) {
  const char *chosen = std::getenv("FAIL_CALL"), *part = std::getenv("FAIL_PATH");
  if (chosen == nullptr || part == nullptr || std::strcmp(chosen, call) != 0) return false;
  char path[4096] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(file);
  if (::readlink(link.c_str(), path, sizeof path - 1) < 0) return false;
  return std::strstr(path, part) != nullptr;
}

template <class Function>
Function real(const char* name) {
  return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
}

ssize_t read_at(const char* name, int file, void* bytes, size_t count, off_t offset) {
  if (fails("read", file)) {
    errno = EIO;
    return -1;
  }
  return real<ssize_t (*)(int, void*, size_t, off_t)>(name)(file, bytes, count, offset);
}

ssize_t write_at(const char* name, int file, const void* bytes, size_t count, off_t offset) {
  if (fails("write", file)) {
    errno = ENOSPC;
    return -1;
  }
  return real<ssize_t (*)(int, const void*, size_t, off_t)>(name)(file, bytes, count, offset);
}

}  // namespace

extern "C" {

ssize_t pread(int file, void* bytes, size_t count, off_t offset) {
  return read_at("pread", file, bytes, count, offset);
}
ssize_t pread64(int file, void* bytes, size_t count, off_t offset) {
  return read_at("pread64", file, bytes, count, offset);
}
ssize_t pwrite(int file, const void* bytes, size_t count, off_t offset) {
  return write_at("pwrite", file, bytes, count, offset);
}
ssize_t pwrite64(int file, const void* bytes, size_t count, off_t offset) {
  return write_at("pwrite64", file, bytes, count, offset);
}
ssize_t write(int file, const void* bytes, size_t count) {
  if (fails("write", file)) {
    errno = ENOSPC;
    return -1;
  }
  return real<ssize_t (*)(int, const void*, size_t)>("write")(file, bytes, count);
}
int fsync(int file) {
  if (fails("fsync", file)) {
    errno = EIO;
    return -1;
  }
  return real<int (*)(int)>("fsync")(file);
}

}  // extern "C"
