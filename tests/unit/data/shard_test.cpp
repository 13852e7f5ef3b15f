// Shards: what goes in comes out in 16 bits, the same bytes every time, and damage is noticed and
// named.
#include "data/shard.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include "tests/unit/data/corpus_fixture.h"

namespace zoetrope::data {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::make_latent;
using testing::make_text;
using testing::message_of;
using testing::TempFolder;
namespace fs = std::filesystem;

void write_some(const fs::path& path, int count) {
  ShardWriter writer(path);
  for (int i = 0; i < count; ++i) writer.add(make_latent("id" + std::to_string(i)));
  writer.close();
}

TEST(HalfFloat, RoundTripsEveryFiniteHalf) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = half_to_float(half);
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(half_to_float(float_to_half(value))));
    } else {
      ASSERT_EQ(float_to_half(value), half) << value;
    }
  }
}

TEST(HalfFloat, RoundsToNearestWithTiesToEven) {
  EXPECT_EQ(round_to_half(1.0f + 0x1p-11f), 1.0f);
  EXPECT_EQ(round_to_half(1.0f + 0x1.8p-10f), 1.0f + 0x1p-9f);
  EXPECT_EQ(round_to_half(1.0f + 0x1.02p-11f), 1.0f + 0x1p-10f);
  EXPECT_EQ(round_to_half(0x1p-25f), 0.0f);
  EXPECT_EQ(round_to_half(0x1.02p-25f), 0x1p-24f);
  EXPECT_EQ(round_to_half(65519.0f), 65504.0f);
  EXPECT_EQ(round_to_half(-65520.0f), -std::numeric_limits<float>::infinity());
}

TEST(Shard, ReadsBackWhatWasWrittenIn16Bits) {
  const TempFolder folder;
  const LatentRecord latent = make_latent("b");
  const TextRecord text = make_text("a red circle");
  {
    ShardWriter writer(folder / "x.h5");
    writer.add(latent);
    writer.add(text);
    EXPECT_EQ(writer.num_records(), 2);
    EXPECT_EQ(writer.bytes(),
              static_cast<std::int64_t>(latent.values.size() + text.values.size()) * 2);
    EXPECT_FALSE(fs::exists(folder / "x.h5"));
    writer.close();
  }
  const ShardReader reader(folder / "x.h5");
  EXPECT_THAT(reader.ids(), ElementsAre("b", text.id));
  const LatentRecord read = reader.latent("b");
  EXPECT_THAT((std::vector{read.channels, read.frames, read.height, read.width}),
              ElementsAre(2, 3, 4, 5));
  ASSERT_EQ(read.values.size(), latent.values.size());
  for (std::size_t i = 0; i < read.values.size(); ++i) {
    EXPECT_EQ(read.values[i], round_to_half(latent.values[i]));
    EXPECT_NEAR(read.values[i], latent.values[i], std::abs(latent.values[i]) * 0x1p-11);
  }
  const TextRecord read_text = reader.text(text.id);
  EXPECT_EQ(read_text.length, text.length);
  EXPECT_EQ(read_text.width, text.width);
  EXPECT_EQ(read_text.values, text.values);
}

TEST(Shard, SameRecordsInTheSameOrderGiveTheSameBytesAtAnyTime) {
  const TempFolder folder;
  write_some(folder / "a.h5", 30);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // HDF5's time stamps count seconds
  write_some(folder / "b.h5", 30);
  EXPECT_EQ(read_file(folder / "a.h5"), read_file(folder / "b.h5"));
}

TEST(Shard, WithoutCloseLeavesNothing) {
  const TempFolder folder;
  {
    ShardWriter writer(folder / "x.h5");
    writer.add(make_latent("a"));
    EXPECT_TRUE(fs::exists(folder / "x.h5.tmp"));
  }
  EXPECT_FALSE(fs::exists(folder / "x.h5.tmp"));
  EXPECT_FALSE(fs::exists(folder / "x.h5"));
}

TEST(Shard, WriterRefusesWhatCannotBeStored) {
  const TempFolder folder;
  ShardWriter writer(folder / "x.h5");
  LatentRecord bad = make_latent("bad");
  bad.values[7] = std::nanf("");
  EXPECT_THAT(message_of<DataError>([&] { writer.add(bad); }),
              AllOf(HasSubstr("\"bad\""), HasSubstr("value 7")));
  bad.values[7] = 1e6f;
  EXPECT_THAT(message_of<DataError>([&] { writer.add(bad); }), HasSubstr("1e+06"));
  bad.values.pop_back();
  EXPECT_THAT(message_of<DataError>([&] { writer.add(bad); }),
              HasSubstr("[2, 3, 4, 5] does not hold 119"));
  bad.height = 0;
  EXPECT_THAT(message_of<DataError>([&] { writer.add(bad); }), HasSubstr("[2, 3, 0, 5] is empty"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add(make_latent("../up")); }),
              HasSubstr("not a valid"));
  writer.add(make_latent("a"));
  EXPECT_THAT(message_of<DataError>([&] { writer.add(make_latent("a")); }), HasSubstr("already"));
}

TEST(Shard, ReaderNamesAMissingRecordAndAWrongRank) {
  const TempFolder folder;
  write_some(folder / "x.h5", 2);
  const ShardReader reader(folder / "x.h5");
  EXPECT_THAT(message_of<DataError>([&] { reader.latent("id9"); }),
              AllOf(HasSubstr("x.h5"), HasSubstr("\"id9\""), HasSubstr("2 records")));
  EXPECT_THAT(message_of<DataError>([&] { reader.text("id1"); }),
              AllOf(HasSubstr("\"id1\""), HasSubstr("rank 4, expected 2")));
}

TEST(Shard, TruncationAtAnyLengthIsNoticed) {
  const TempFolder folder;
  write_some(folder / "x.h5", 12);
  const auto size = fs::file_size(folder / "x.h5");
  for (const auto length : {size - 1, size / 2, std::uintmax_t{100}, std::uintmax_t{0}}) {
    fs::copy_file(folder / "x.h5", folder / "cut.h5", fs::copy_options::overwrite_existing);
    fs::resize_file(folder / "cut.h5", length);
    EXPECT_THAT(message_of<DataError>([&] { ShardReader reader(folder / "cut.h5"); }),
                HasSubstr("cut.h5"))
        << length;
  }
  EXPECT_THAT(message_of<DataError>([&] { ShardReader reader(folder / "no.h5"); }),
              HasSubstr("no.h5"));
}

// Metadata and values carry checksums, so any flipped byte that matters is an error; one in a gap
// between objects changes nothing that is read.
TEST(Shard, AFlippedByteIsAnErrorOrChangesNothing) {
  const TempFolder folder;
  write_some(folder / "x.h5", 3);
  std::vector<std::vector<float>> truth;
  for (int i = 0; i < 3; ++i) truth.push_back(make_latent("id" + std::to_string(i)).values);
  for (auto& values : truth)
    std::transform(values.begin(), values.end(), values.begin(), round_to_half);
  const auto size = fs::file_size(folder / "x.h5");
  int num_errors = 0, num_tried = 0;
  for (std::uintmax_t offset = 0; offset < size; offset += 7, ++num_tried) {
    fs::copy_file(folder / "x.h5", folder / "bad.h5", fs::copy_options::overwrite_existing);
    testing::overwrite_byte(folder / "bad.h5", offset);
    try {
      const ShardReader reader(folder / "bad.h5");
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(reader.latent("id" + std::to_string(i)).values,
                  truth[static_cast<std::size_t>(i)])
            << "byte " << offset;
      }
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("bad.h5"));
      ++num_errors;
    }
  }
  EXPECT_GT(num_errors, num_tried / 4);
}

TEST(Shard, AFlippedValueNamesItsRecord) {
  const TempFolder folder;
  write_some(folder / "x.h5", 1);
  const std::string bytes = read_file(folder / "x.h5");
  std::vector<std::uint16_t> halves;
  for (const float value : make_latent("id0").values) halves.push_back(float_to_half(value));
  const auto at = bytes.find(std::string(reinterpret_cast<const char*>(halves.data()), 40));
  ASSERT_NE(at, std::string::npos);  // little-endian halves, as they are
  testing::overwrite_byte(folder / "x.h5", at + 11);
  const ShardReader reader(folder / "x.h5");
  EXPECT_THAT(message_of<DataError>([&] { reader.latent("id0"); }),
              AllOf(HasSubstr("\"id0\""), HasSubstr("Fletcher32 checksum")));
}

// Another program's HDF5 file, with `edit` to make it almost ours.
void write_foreign(const fs::path& path, const std::function<void(hid_t)>& edit) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  edit(file);
  H5Fclose(file);
}

void write_string_attribute(hid_t file, const std::string& text) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, text.size() + 1);
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(file, "format", type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, text.c_str());
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

TEST(Shard, ForeignFilesAreRefused) {
  const TempFolder folder;
  write_foreign(folder / "f.h5", [](hid_t) {});
  EXPECT_THAT(message_of<DataError>([&] { ShardReader reader(folder / "f.h5"); }),
              HasSubstr("no \"format\""));
  write_foreign(folder / "f.h5",
                [](hid_t file) { write_string_attribute(file, "zoetrope-shard-9"); });
  EXPECT_THAT(message_of<DataError>([&] { ShardReader reader(folder / "f.h5"); }),
              HasSubstr("format is \"zoetrope-shard-9\""));
  write_foreign(folder / "f.h5", [](hid_t file) { write_string_attribute(file, "x"); });
  EXPECT_THAT(message_of<DataError>([&] { ShardReader reader(folder / "f.h5"); }),
              HasSubstr("is not the string"));
}

// A record that points out of the file or is stored in another way is not read.
TEST(Shard, RecordsStoredInAnotherWayAreRefused) {
  const TempFolder folder;
  write_some(folder / "x.h5", 1);
  const hid_t file = H5Fopen((folder / "x.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  H5Lcreate_external("/etc/hostname", "/x", file, "outside", H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t dims[2] = {1u << 20, 1u << 9};
  const hid_t space = H5Screate_simple(2, dims, nullptr);
  const hid_t set =
      H5Dcreate2(file, "float32", H5T_IEEE_F32LE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  H5Dclose(set);
  H5Sclose(space);
  H5Fclose(file);
  const ShardReader reader(folder / "x.h5");
  EXPECT_THAT(message_of<DataError>([&] { reader.latent("outside"); }),
              HasSubstr("link to somewhere else"));
  EXPECT_THAT(message_of<DataError>([&] { reader.text("float32"); }),
              HasSubstr("not stored as 16-bit"));
}

}  // namespace
}  // namespace zoetrope::data
