// All ownership of HDF5: handles, the process-wide lock, and HDF5's own words in our errors.
// The library in the distributions is not thread-safe, so every HDF5 call happens while a Library
// lives.
#pragma once

#include <mutex>
#include <string>
#include <utility>

#include <hdf5.h>

#include "base/error.h"

namespace zoetrope::data::hdf5 {

// Holds HDF5 for this thread; its error printing is off meanwhile.
class Library {
 public:
  Library();

 private:
  std::scoped_lock<std::mutex> lock_;
};

// Innermost reason of the last failure, with the call that it broke: "reason (call)".
std::string last_error();

// Owns one HDF5 identifier. Destroy it while a Library lives.
class Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Handle() = default;
  Handle(hid_t id, Close close) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() { reset(); }
  hid_t get() const { return id_; }
  // False when HDF5 could not close it (a file's last writes failed).
  bool reset() { return id_ < 0 || close_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// `what` names the file and the act: "FILE: cannot open".
template <class ErrorType>
Handle own(hid_t id, Handle::Close close, const std::string& what) {
  if (id < 0) throw ErrorType(concat(what, ": ", last_error()));
  return Handle(id, close);
}

template <class ErrorType>
void check(herr_t status, const std::string& what) {
  if (status < 0) throw ErrorType(concat(what, ": ", last_error()));
}

// Little-endian IEEE binary16, which HDF5 1.10 has no name for.
Handle half_type();

// Access properties: checksummed metadata (format of HDF5 1.10), no file locks (network file
// systems refuse them; shards are immutable once published), everything closed with the file.
Handle file_access();

}  // namespace zoetrope::data::hdf5
