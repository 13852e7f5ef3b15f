// The HDF5 lock, error text and the two property objects that every shard shares.
#include "data/shard_hdf5.h"

#include <string_view>

namespace zoetrope::data::hdf5 {
namespace {

std::mutex& library_mutex() {
  static std::mutex mutex;  // HDF5's state is the process's
  return mutex;
}

struct Reasons {
  std::string innermost, outermost;
};

// The file driver tells the clock, addresses and counts along; what counts is its name of the
// errno.
std::string plain_words(const std::string& text) {
  constexpr std::string_view kMark = "error message = '";
  const std::size_t clock = text.find(": time = "), mark = text.find(kMark);
  if (clock == std::string::npos || mark == std::string::npos) return text;
  const std::size_t from = mark + kMark.size();
  return concat(text.substr(0, clock), ": ", text.substr(from, text.find('\'', from) - from));
}

herr_t collect(unsigned /*depth*/, const H5E_error2_t* error, void* out) {
  auto& reasons = *static_cast<Reasons*>(out);
  const std::string text = error->desc != nullptr ? plain_words(error->desc) : "";
  if (reasons.innermost.empty()) reasons.innermost = text;
  reasons.outermost = text;
  return 0;
}

}  // namespace

Library::Library() : lock_(library_mutex()) {
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

std::string last_error() {
  Reasons reasons;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect, &reasons);
  if (reasons.innermost.empty()) return "HDF5 gave no reason";
  if (reasons.outermost == reasons.innermost) return reasons.innermost;
  return concat(reasons.innermost, " (", reasons.outermost, ")");
}

Handle half_type() {
  Handle type = own<Error>(H5Tcopy(H5T_IEEE_F32LE), H5Tclose, "HDF5 float16 type");
  check<Error>(H5Tset_fields(type.get(), 15, 10, 5, 0, 10), "HDF5 float16 fields");
  check<Error>(H5Tset_size(type.get(), 2), "HDF5 float16 size");
  check<Error>(H5Tset_ebias(type.get(), 15), "HDF5 float16 exponent bias");
  return type;
}

Handle file_access() {
  Handle access = own<Error>(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "HDF5 file access");
  check<Error>(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "HDF5 format");
  check<Error>(H5Pset_fclose_degree(access.get(), H5F_CLOSE_STRONG), "HDF5 close degree");
  check<Error>(H5Pset_file_locking(access.get(), false, true), "HDF5 file locking");
  return access;
}

}  // namespace zoetrope::data::hdf5
