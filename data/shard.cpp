// Shards on disk through the HDF5 C API. Values cross the API as 16-bit integers of type float16,
// so HDF5 converts nothing and the rounding is half_float.h's on every machine.
#include "data/shard.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "base/files.h"
#include "data/half_float.h"
#include "data/shard_hdf5.h"

static_assert(std::endian::native == std::endian::little,
              "shards are written from memory as it is");

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;
using hdf5::Handle;
using Dims = std::vector<hsize_t>;

constexpr char kFormat[] = "zoetrope-shard-1";
constexpr std::size_t kMaxElements = std::size_t{1} << 30;  // HDF5 chunks stay below 4 GiB

std::string shape_text(const Dims& dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) text += concat(i == 0 ? "" : ", ", dims[i]);
  return text + "]";
}

// Elements of a shape, or DataError when a size is 0 or the product passes the limit.
std::size_t num_elements(const Dims& dims, const std::string& place) {
  std::size_t product = 1;
  for (const hsize_t dim : dims) {
    ZOETROPE_CHECK_DATA(dim >= 1 && dim <= kMaxElements / product, place, ": shape ",
                        shape_text(dims), " is empty or has more than ", kMaxElements, " elements");
    product *= dim;
  }
  return product;
}

std::vector<std::uint16_t> to_halves(const std::vector<float>& values, const std::string& place) {
  std::vector<std::uint16_t> halves(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    halves[i] = float_to_half(values[i]);
    ZOETROPE_CHECK_DATA((halves[i] & 0x7c00u) != 0x7c00u, place, ": value ", i, " is ", values[i],
                        ", which 16-bit floats cannot hold");
  }
  return halves;
}

std::vector<float> to_floats(const std::vector<std::uint16_t>& halves, const std::string& place) {
  std::vector<float> values(halves.size());
  for (std::size_t i = 0; i < halves.size(); ++i) {
    values[i] = half_to_float(halves[i]);
    ZOETROPE_CHECK_DATA(std::isfinite(values[i]), place, ": value ", i, " is ", values[i]);
  }
  return values;
}

void write_format(hid_t file, const std::string& path) {
  const Handle type = hdf5::own<Error>(H5Tcopy(H5T_C_S1), H5Tclose, path);
  hdf5::check<Error>(H5Tset_size(type.get(), sizeof kFormat), path);
  const Handle space = hdf5::own<Error>(H5Screate(H5S_SCALAR), H5Sclose, path);
  const Handle attribute = hdf5::own<Error>(
      H5Acreate2(file, "format", type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
      path);
  hdf5::check<Error>(H5Awrite(attribute.get(), type.get(), kFormat), path);
}

void check_format(hid_t file, const std::string& path) {
  const std::string what = concat(path, ": not a zoetrope shard: no \"format\" attribute");
  const Handle attribute =
      hdf5::own<DataError>(H5Aopen(file, "format", H5P_DEFAULT), H5Aclose, what);
  const Handle stored = hdf5::own<DataError>(H5Aget_type(attribute.get()), H5Tclose, what);
  ZOETROPE_CHECK_DATA(H5Tget_class(stored.get()) == H5T_STRING &&
                          H5Tis_variable_str(stored.get()) == 0 &&
                          H5Tget_size(stored.get()) == sizeof kFormat &&
                          H5Aget_storage_size(attribute.get()) == sizeof kFormat,
                      path, ": \"format\" is not the string \"", kFormat, "\"");
  char text[sizeof kFormat] = {};
  hdf5::check<DataError>(H5Aread(attribute.get(), stored.get(), text), what);
  ZOETROPE_CHECK_DATA(std::memcmp(text, kFormat, sizeof kFormat) == 0, path, ": format is \"",
                      std::string(text, strnlen(text, sizeof text)), "\", this program reads \"",
                      kFormat, "\"");
}

}  // namespace

struct ShardWriter::Impl {
  fs::path path, tmp;
  Handle file, half, properties;
  std::unordered_set<std::string> ids;
  std::int64_t bytes = 0;

  explicit Impl(const fs::path& target) : path(target), tmp(target) {
    tmp += ".tmp";
    const hdf5::Library library;
    const Handle create = hdf5::own<Error>(H5Pcreate(H5P_FILE_CREATE), H5Pclose, tmp.string());
    hdf5::check<Error>(
        H5Pset_link_creation_order(create.get(), H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED),
        tmp.string());
    hdf5::check<Error>(H5Pset_obj_track_times(create.get(), false),
                       tmp.string());  // of the root group
    const Handle access = hdf5::file_access();
    file = hdf5::own<Error>(H5Fcreate(tmp.c_str(), H5F_ACC_TRUNC, create.get(), access.get()),
                            H5Fclose, concat(tmp.string(), ": cannot create shard"));
    half = hdf5::half_type();
    write_format(file.get(), tmp.string());
  }

  ~Impl() {
    const hdf5::Library library;
    const bool unfinished = file.get() >= 0;
    properties.reset();
    half.reset();
    file.reset();
    std::error_code ignored;
    if (unfinished) fs::remove(tmp, ignored);
  }

  std::int64_t add(const std::string& id, const Dims& dims, const std::vector<float>& values) {
    const std::string place = concat(path.string(), ": record \"", id, "\"");
    ZOETROPE_CHECK(file.get() >= 0, place, ": added after close()");
    ZOETROPE_CHECK_DATA(is_record_name(id), place, ": not a valid record name");
    ZOETROPE_CHECK_DATA(ids.count(id) == 0, place, " is already in this shard");
    ZOETROPE_CHECK_DATA(num_elements(dims, place) == values.size(), place, ": shape ",
                        shape_text(dims), " does not hold ", values.size(), " values");
    const std::vector<std::uint16_t> halves = to_halves(values, place);
    const hdf5::Library library;
    const std::int64_t offset = write(id, dims, halves, place);
    ids.insert(id);
    bytes += static_cast<std::int64_t>(halves.size() * sizeof(std::uint16_t));
    return offset;
  }

  std::int64_t write(const std::string& id, const Dims& dims,
                     const std::vector<std::uint16_t>& halves, const std::string& place) const {
    const int rank = static_cast<int>(dims.size());
    const Handle space =
        hdf5::own<Error>(H5Screate_simple(rank, dims.data(), nullptr), H5Sclose, place);
    const Handle create = hdf5::own<Error>(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, place);
    hdf5::check<Error>(H5Pset_chunk(create.get(), rank, dims.data()), place);
    hdf5::check<Error>(H5Pset_fletcher32(create.get()), place);
    hdf5::check<Error>(H5Pset_obj_track_times(create.get(), false), place);
    const Handle set = hdf5::own<Error>(H5Dcreate2(file.get(), id.c_str(), half.get(), space.get(),
                                                   H5P_DEFAULT, create.get(), H5P_DEFAULT),
                                        H5Dclose, concat(place, ": cannot create"));
    hdf5::check<Error>(
        H5Dwrite(set.get(), half.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, halves.data()),
        concat(place, ": cannot write"));
    const Dims first(dims.size(), 0);
    haddr_t address = HADDR_UNDEF;
    hsize_t stored = 0;
    hdf5::check<Error>(
        H5Dget_chunk_info_by_coord(set.get(), first.data(), nullptr, &address, &stored), place);
    ZOETROPE_CHECK(address != HADDR_UNDEF && stored == halves.size() * sizeof(halves[0]) + 4, place,
                   ": HDF5 stored ", stored, " bytes at ", address);
    return static_cast<std::int64_t>(address);
  }

  void close() {
    {
      const hdf5::Library library;
      const std::string what = concat(tmp.string(), ": cannot finish shard");
      hdf5::check<Error>(H5Fflush(file.get(), H5F_SCOPE_LOCAL), what);
      ZOETROPE_CHECK(file.reset(), what, ": ", hdf5::last_error());
    }
    fsync_path(tmp);
    fs::rename(tmp, path);
    fsync_path(path.has_parent_path() ? path.parent_path() : fs::path("."));
  }
};

ShardWriter::ShardWriter(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
ShardWriter::~ShardWriter() = default;

std::int64_t ShardWriter::add(const LatentRecord& record) {
  const auto size = [](int value) { return static_cast<hsize_t>(std::max(value, 0)); };
  return impl_->add(
      record.id,
      {size(record.channels), size(record.frames), size(record.height), size(record.width)},
      record.values);
}

std::int64_t ShardWriter::add(const TextRecord& record) {
  return impl_->add(record.id,
                    {static_cast<hsize_t>(std::max(record.length, 0)),
                     static_cast<hsize_t>(std::max(record.width, 0))},
                    record.values);
}

void ShardWriter::close() {
  impl_->close();
}
std::int64_t ShardWriter::bytes() const {
  return impl_->bytes;
}
std::int64_t ShardWriter::num_records() const {
  return static_cast<std::int64_t>(impl_->ids.size());
}

struct ShardReader::Impl {
  std::string path;
  Handle file, half;
  std::vector<std::string> ids;

  explicit Impl(const fs::path& target) : path(target.string()) {
    const hdf5::Library library;
    // A plug-in filter named by a hostile file would be code of its choice.
    hdf5::check<Error>(H5PLset_loading_state(0), path);
    const Handle access = hdf5::file_access();
    file = hdf5::own<DataError>(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose,
                                concat(path, ": cannot open shard"));
    half = hdf5::half_type();
    check_format(file.get(), path);
    read_ids();
  }

  ~Impl() {
    const hdf5::Library library;
    half.reset();
    file.reset();
  }

  void read_ids() {
    const std::string what = concat(path, ": cannot list records");
    H5G_info_t group;
    hdf5::check<DataError>(H5Gget_info(file.get(), &group), what);
    for (hsize_t i = 0; i < group.nlinks; ++i) {
      char name[130] = {};
      const auto length = H5Lget_name_by_idx(file.get(), ".", H5_INDEX_CRT_ORDER, H5_ITER_INC, i,
                                             name, sizeof name, H5P_DEFAULT);
      hdf5::check<DataError>(length < 0 ? -1 : 0, what);
      ZOETROPE_CHECK_DATA(is_record_name(name), path, ": record ", i, " has no valid name");
      ids.emplace_back(name);
    }
  }

  Handle open(const std::string& id, const std::string& place) const {
    ZOETROPE_CHECK_DATA(is_record_name(id), place, ": not a valid record name");
    const htri_t exists = H5Lexists(file.get(), id.c_str(), H5P_DEFAULT);
    hdf5::check<DataError>(exists, concat(place, ": cannot look it up"));
    ZOETROPE_CHECK_DATA(exists > 0, place, " is not in this shard of ", ids.size(), " records");
    H5L_info_t link;
    hdf5::check<DataError>(H5Lget_info(file.get(), id.c_str(), &link, H5P_DEFAULT), place);
    ZOETROPE_CHECK_DATA(link.type == H5L_TYPE_HARD, place, ": is a link to somewhere else");
    return hdf5::own<DataError>(H5Dopen2(file.get(), id.c_str(), H5P_DEFAULT), H5Dclose,
                                concat(place, ": cannot open"));
  }

  int num_dims(const std::string& id) const {
    const std::string place = concat(path, ": record \"", id, "\"");
    const hdf5::Library library;
    const Handle set = open(id, place);
    const Handle space = hdf5::own<DataError>(H5Dget_space(set.get()), H5Sclose, place);
    return H5Sget_simple_extent_ndims(space.get());
  }

  Dims shape(hid_t set, int rank, const std::string& place) const {
    const Handle space = hdf5::own<DataError>(H5Dget_space(set), H5Sclose, place);
    const int found = H5Sget_simple_extent_ndims(space.get());
    ZOETROPE_CHECK_DATA(found == rank, place, ": has rank ", found, ", expected ", rank);
    Dims dims(static_cast<std::size_t>(rank));
    hdf5::check<DataError>(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), place);
    return dims;
  }

  // Type, layout, filters and stored size, so that nothing unexpected is allocated, run or made up.
  void check_storage(hid_t set, const Dims& dims, const std::string& place) const {
    const Handle type = hdf5::own<DataError>(H5Dget_type(set), H5Tclose, place);
    ZOETROPE_CHECK_DATA(H5Tequal(type.get(), half.get()) > 0, place,
                        ": is not stored as 16-bit floats");
    const Handle create = hdf5::own<DataError>(H5Dget_create_plist(set), H5Pclose, place);
    Dims chunk(dims.size());
    const int rank = static_cast<int>(dims.size());
    ZOETROPE_CHECK_DATA(H5Pget_layout(create.get()) == H5D_CHUNKED &&
                            H5Pget_chunk(create.get(), rank, chunk.data()) == rank && chunk == dims,
                        place, ": is not stored as one chunk");
    unsigned flags = 0, config = 0;
    std::size_t num_values = 0;
    ZOETROPE_CHECK_DATA(H5Pget_nfilters(create.get()) == 1 &&
                            H5Pget_filter2(create.get(), 0, &flags, &num_values, nullptr, 0,
                                           nullptr, &config) == H5Z_FILTER_FLETCHER32,
                        place, ": is not stored with fletcher32 alone");
    const std::size_t expected = num_elements(dims, place) * sizeof(std::uint16_t);
    ZOETROPE_CHECK_DATA(H5Dget_storage_size(set) >= expected, place, ": holds ",
                        H5Dget_storage_size(set), " bytes, its shape ", shape_text(dims), " needs ",
                        expected);
  }

  std::vector<float> read(const std::string& id, int rank, Dims& dims) const {
    const std::string place = concat(path, ": record \"", id, "\"");
    std::vector<std::uint16_t> halves;
    {
      const hdf5::Library library;
      const Handle set = open(id, place);
      dims = shape(set.get(), rank, place);
      check_storage(set.get(), dims, place);
      halves.resize(num_elements(dims, place));
      hdf5::check<DataError>(
          H5Dread(set.get(), half.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, halves.data()),
          concat(place, ": cannot read"));
    }
    return to_floats(halves, place);
  }
};

ShardReader::ShardReader(const fs::path& path) : impl_(std::make_unique<Impl>(path)) {}
ShardReader::~ShardReader() = default;
ShardReader::ShardReader(ShardReader&&) noexcept = default;

std::vector<std::string> ShardReader::ids() const {
  return impl_->ids;
}

int ShardReader::num_dims(const std::string& id) const {
  return impl_->num_dims(id);
}

LatentRecord ShardReader::latent(const std::string& id) const {
  Dims dims;
  std::vector<float> values = impl_->read(id, 4, dims);
  return {id,
          static_cast<int>(dims[0]),
          static_cast<int>(dims[1]),
          static_cast<int>(dims[2]),
          static_cast<int>(dims[3]),
          std::move(values)};
}

TextRecord ShardReader::text(const std::string& id) const {
  Dims dims;
  std::vector<float> values = impl_->read(id, 2, dims);
  return {id, static_cast<int>(dims[0]), static_cast<int>(dims[1]), std::move(values)};
}

}  // namespace zoetrope::data
