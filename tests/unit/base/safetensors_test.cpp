// safetensors: round trips, bytes as the reference writer makes them, and hostile headers.
#include "base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "base/json.h"
#include "tests/unit/base/fixtures.h"

namespace zoetrope {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A file's bytes: the header's size, the header, `num_data` zero bytes.
std::string file_bytes(const std::string& header, std::size_t num_data) {
  std::uint64_t size = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &size, 8);
  return bytes + header + std::string(num_data, '\0');
}

std::string refusal_of_bytes(const std::string& bytes) {
  TempFolder folder;
  write_file_atomically(folder / "a.safetensors", bytes);
  std::string message =
      message_of<DataError>([&] { SafetensorsFile file(folder / "a.safetensors"); });
  EXPECT_THAT(message, HasSubstr("a.safetensors"));
  return message;
}

std::string refusal(const std::string& header, std::size_t num_data) {
  return refusal_of_bytes(file_bytes(header, num_data));
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return concat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                ",\"data_offsets\":", offsets, "}");
}

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

TEST(Safetensors, SpreadsLargeSetsOverFilesWithAnIndex) {
  TempFolder folder;
  const std::vector<float> values = {1, 2, 3, 4};  // 16 bytes each
  std::map<std::string, TensorView> tensors;
  for (const char* name : {"a", "b", "c"}) tensors[name] = {DType::kF32, {4}, bytes_of(values)};
  const auto path = folder / "w.safetensors";
  write_safetensors_parts(path, tensors, {{"format", "pt"}}, 40);
  const Json index = read_json(folder / "w.safetensors.index.json");
  EXPECT_EQ(index.at("metadata").at("total_size"), 48);
  EXPECT_EQ(index.at("weight_map").at("a"), "w-00001-of-00002.safetensors");
  EXPECT_EQ(index.at("weight_map").at("c"), "w-00002-of-00002.safetensors");
  EXPECT_FALSE(std::filesystem::exists(path));
  std::size_t found = 0;
  for (const auto& part : safetensors_parts(path)) {
    const SafetensorsFile file(part);
    EXPECT_EQ(file.metadata().at("format"), "pt");
    found += file.tensors().size();
  }
  EXPECT_EQ(found, 3u);
  // Without a limit it is one file again, and the index is gone.
  write_safetensors_parts(path, tensors, {}, 0);
  EXPECT_THAT(safetensors_parts(path), ElementsAre(path));
  EXPECT_FALSE(std::filesystem::exists(folder / "w.safetensors.index.json"));
  EXPECT_THROW(safetensors_parts(folder / "other.safetensors"), ConfigError);
}

TEST(Safetensors, RoundTripKeepsEverything) {
  TempFolder folder;
  std::vector<double> f64 = {1.5, -2};
  std::vector<float> f32 = {1, 2, 3, 4, 5, 6};
  std::vector<std::uint16_t> half = {0x3C00};
  std::vector<std::int64_t> i64 = {-7};
  std::vector<std::uint8_t> u8 = {1, 2, 3};
  std::map<std::string, TensorView> tensors = {{"a.bool", {DType::kBool, {3}, bytes_of(u8)}},
                                               {"b.f32", {DType::kF32, {2, 3}, bytes_of(f32)}},
                                               {"c.f64", {DType::kF64, {2}, bytes_of(f64)}},
                                               {"d.bf16", {DType::kBF16, {}, bytes_of(half)}},
                                               {"e.empty", {DType::kF16, {4, 0}, {}}},
                                               {"f.i64", {DType::kI64, {1}, bytes_of(i64)}},
                                               {"g.i8", {DType::kI8, {1, 1, 3}, bytes_of(u8)}},
                                               {"h \"\xc3\xa9\\", {DType::kU8, {3}, bytes_of(u8)}}};
  write_safetensors(folder / "a.safetensors", tensors, {{"format", "pt"}, {"step", "12"}});
  SafetensorsFile file(folder / "a.safetensors");
  ASSERT_EQ(file.tensors().size(), tensors.size());
  for (const auto& [name, expected] : tensors) {
    const TensorView& got = file.at(name);
    EXPECT_EQ(got.dtype, expected.dtype) << name;
    EXPECT_EQ(got.shape, expected.shape) << name;
    ASSERT_EQ(got.bytes.size(), expected.bytes.size()) << name;
    EXPECT_TRUE(std::equal(got.bytes.begin(), got.bytes.end(), expected.bytes.begin())) << name;
    auto address = reinterpret_cast<std::uintptr_t>(got.bytes.data());
    EXPECT_EQ(address % dtype_bytes(got.dtype), 0u) << name;
  }
  EXPECT_EQ(file.metadata(),
            (std::map<std::string, std::string>{{"format", "pt"}, {"step", "12"}}));
}

TEST(Safetensors, WritesTheseBytes) {
  TempFolder folder;
  std::vector<std::uint8_t> u8 = {9};
  std::vector<float> f32 = {1.0f};
  write_safetensors(folder / "a", {{"a", {DType::kU8, {1}, bytes_of(u8)}},
                                   {"b", {DType::kF32, {}, bytes_of(f32)}}});
  std::string header =
      "{" + entry("b", "F32", "[]", "[0,4]") + "," + entry("a", "U8", "[1]", "[4,5]") + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string expected = file_bytes(header, 0) + std::string("\x00\x00\x80\x3f\x09", 5);
  EXPECT_EQ(read_file(folder / "a"), expected);
}

// As safetensors 0.4 for Python saves {"w": [[1, 2]], "n": int64 5} with metadata.
TEST(Safetensors, ReadsWhatTheReferenceWrites) {
  TempFolder folder;
  std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," + entry("n", "I64", "[]", "[0,8]") +
                       "," + entry("w", "F32", "[1,2]", "[8,16]") + "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string bytes =
      file_bytes(header, 0) + std::string("\5\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40", 16);
  write_file_atomically(folder / "a", bytes);
  SafetensorsFile file(folder / "a");
  EXPECT_EQ(file.at("n").dtype, DType::kI64);
  EXPECT_EQ(file.at("n").num_elements(), 1);
  EXPECT_THAT(file.at("w").shape, ElementsAre(1, 2));
  float values[2];
  std::memcpy(values, file.at("w").bytes.data(), 8);
  EXPECT_THAT(values, ElementsAre(1.0f, 2.0f));
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST(Safetensors, AnEmptyFileOfNoTensorsIsValid) {
  TempFolder folder;
  write_safetensors(folder / "a", {});
  EXPECT_TRUE(SafetensorsFile(folder / "a").tensors().empty());
}

TEST(Safetensors, ViewsSurviveAMove) {
  TempFolder folder;
  std::vector<std::uint8_t> u8 = {9};
  write_safetensors(folder / "a", {{"a", {DType::kU8, {1}, bytes_of(u8)}}});
  SafetensorsFile first(folder / "a");
  SafetensorsFile second(std::move(first));
  EXPECT_EQ(second.at("a").bytes[0], std::byte{9});
}

TEST(Safetensors, AMissingTensorIsNamed) {
  TempFolder folder;
  write_safetensors(folder / "a", {});
  SafetensorsFile file(folder / "a");
  EXPECT_THAT(message_of<DataError>([&] { file.at("w"); }), HasSubstr("no tensor w"));
  EXPECT_THROW(SafetensorsFile("/no/such/file"), ConfigError);
}

TEST(HostileSafetensors, SizesOfTheHeader) {
  EXPECT_THAT(refusal_of_bytes(""), HasSubstr("0 bytes are too few"));
  EXPECT_THAT(refusal_of_bytes("1234567"), HasSubstr("7 bytes are too few"));
  EXPECT_THAT(refusal_of_bytes(std::string(8, '\xff')), HasSubstr("the limit is 100000000"));
  EXPECT_THAT(refusal_of_bytes(std::string("\x10\0\0\0\0\0\0\0{}", 10)),
              HasSubstr("claims 16 bytes, but 2"));
  EXPECT_THAT(refusal("", 0), HasSubstr("does not start with {"));
}

TEST(HostileSafetensors, HeadersThatAreNotWhatTheyShould) {
  EXPECT_THAT(refusal("[1]", 0), HasSubstr("does not start with {"));
  EXPECT_THAT(refusal(" {}", 0), HasSubstr("does not start with {"));
  EXPECT_THAT(refusal("{\"a\":", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("{} x", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("{\"\xff\":1}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(refusal("{\"a\":5}", 0), HasSubstr("a: not an object"));
  EXPECT_THAT(refusal("{\"a\":{}}", 0), HasSubstr("a: no dtype"));
  EXPECT_THAT(refusal("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0),
              HasSubstr("a: no shape"));
  EXPECT_THAT(refusal("{\"__metadata__\":5}", 0), HasSubstr("not an object"));
  EXPECT_THAT(refusal("{\"__metadata__\":{\"a\":1}}", 0), HasSubstr("\"a\" is not text"));
  EXPECT_THAT(refusal("{\"a\":" + std::string(1'000'000, '['), 0), HasSubstr("nested deeper"));
}

TEST(HostileSafetensors, DuplicateNames) {
  std::string twice = entry("a", "U8", "[1]", "[0,1]");
  EXPECT_THAT(refusal("{" + twice + "," + twice + "}", 1), HasSubstr("\"a\" is there twice"));
  EXPECT_THAT(
      refusal("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,1]}}", 1),
      HasSubstr("\"shape\" is there twice"));
}

TEST(HostileSafetensors, DtypesAndShapes) {
  EXPECT_THAT(refusal("{" + entry("a", "F8_E4M3", "[1]", "[0,1]") + "}", 1),
              HasSubstr("the dtype F8_E4M3 is not supported"));
  EXPECT_THAT(refusal("{\"a\":{\"dtype\":5,\"shape\":[1],\"data_offsets\":[0,1]}}", 1),
              HasSubstr("dtype is not text"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[-1]", "[0,1]") + "}", 1), HasSubstr("size -1"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[1.0]", "[0,1]") + "}", 1), HasSubstr("size 1.0"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[18446744073709551615]", "[0,1]") + "}", 1),
              HasSubstr("is not a count"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "5", "[0,1]") + "}", 1),
              HasSubstr("shape is not a list"));
  EXPECT_THAT(refusal("{" + entry("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]") + "}", 1),
              HasSubstr("at most 8"));
  EXPECT_THAT(refusal("{" + entry("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(refusal("{" + entry("a", "F64", "[1152921504606846976]", "[0,0]") + "}", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(refusal("{" + entry("a", "F32", "[2]", "[0,4]") + "}", 4),
              HasSubstr("its shape needs 8 bytes, its data_offsets span 4"));
}

TEST(HostileSafetensors, Offsets) {
  auto one = [](const std::string& offsets) {
    return "{" + entry("a", "U8", "[4]", offsets) + "}";
  };
  EXPECT_THAT(refusal(one("[-4,0]"), 4), HasSubstr("offset -4 is not a count"));
  EXPECT_THAT(refusal(one("[4,0]"), 4), HasSubstr("lie outside the 4 bytes"));
  EXPECT_THAT(refusal(one("[0,4]"), 3), HasSubstr("lie outside the 3 bytes"));
  EXPECT_THAT(refusal(one("[0,4]"), 5), HasSubstr("1 bytes after the last tensor"));
  EXPECT_THAT(refusal(one("[1,5]"), 5), HasSubstr("a hole of 1 bytes before a"));
  EXPECT_THAT(refusal(one("[0]"), 4), HasSubstr("not [begin, end]"));
  EXPECT_THAT(refusal(one("[0,4,8]"), 4), HasSubstr("not [begin, end]"));
  EXPECT_THAT(refusal(one("[0.0,4]"), 4), HasSubstr("offset 0.0 is not a count"));
  EXPECT_THAT(refusal(one("[9223372036854775807,9223372036854775811]"), 4),
              HasSubstr("is not a count"));
}

TEST(HostileSafetensors, OverlapsAndHoles) {
  auto two = [](const std::string& first, const std::string& second) {
    return "{" + entry("a", "U8", "[4]", first) + "," + entry("b", "U8", "[4]", second) + "}";
  };
  EXPECT_THAT(refusal(two("[0,4]", "[2,6]"), 6), HasSubstr("b starts at 2 and overlaps"));
  EXPECT_THAT(refusal(two("[0,4]", "[0,4]"), 4), HasSubstr("overlaps"));
  EXPECT_THAT(refusal(two("[0,4]", "[5,9]"), 9), HasSubstr("a hole of 1 bytes before b"));
  EXPECT_THAT(refusal("{}", 1), HasSubstr("1 bytes after the last tensor"));
}

TEST(SafetensorsWrite, RefusesWhatNoReaderWouldTake) {
  TempFolder folder;
  std::vector<std::uint8_t> u8 = {1, 2};
  auto write = [&](const std::string& name, std::vector<std::int64_t> shape) {
    return message_of<Error>([&] {
      write_safetensors(folder / "a", {{name, {DType::kU8, shape, bytes_of(u8)}}});
    });
  };
  EXPECT_THAT(write("a", {3}), HasSubstr("has 2 bytes; its shape needs 3"));
  EXPECT_THAT(write("a", {-2}), HasSubstr("negative size -2"));
  EXPECT_THAT(write("__metadata__", {2}), HasSubstr("reserved"));
  EXPECT_THAT(write("a", {1, 1, 1, 1, 1, 1, 1, 1, 2}), HasSubstr("9 dimensions"));
  EXPECT_THAT(write("\xff", {2}), HasSubstr("cannot write"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(FindSafetensors, PrefersTheWholeFileThenTheShards) {
  TempFolder folder;
  EXPECT_THROW(find_safetensors(folder.path()), ConfigError);
  write_json(
      folder / "diffusion_pytorch_model.safetensors.index.json",
      {{"weight_map", {{"x", "b.safetensors"}, {"y", "a.safetensors"}, {"z", "b.safetensors"}}}});
  EXPECT_THAT(message_of<DataError>([&] { find_safetensors(folder.path()); }),
              HasSubstr("is missing"));
  write_safetensors(folder / "a.safetensors", {});
  write_safetensors(folder / "b.safetensors", {});
  EXPECT_THAT(find_safetensors(folder.path()),
              ElementsAre(folder / "a.safetensors", folder / "b.safetensors"));
  write_safetensors(folder / "diffusion_pytorch_model.safetensors", {});
  EXPECT_THAT(find_safetensors(folder.path()),
              ElementsAre(folder / "diffusion_pytorch_model.safetensors"));
}

TEST(FindSafetensors, AnIndexCannotLeaveItsFolder) {
  TempFolder folder;
  for (const Json& index :
       {Json{{"weight_map", {{"x", "../a.safetensors"}}}},
        Json{{"weight_map", {{"x", "/a.safetensors"}}}}, Json{{"weight_map", {{"x", "a.bin"}}}},
        Json{{"weight_map", {{"x", 5}}}}, Json{{"weight_map", Json::object()}}, Json::array()}) {
    write_json(folder / "model.safetensors.index.json", index);
    EXPECT_THROW(find_safetensors(folder.path()), DataError) << index;
  }
}

}  // namespace
}  // namespace zoetrope
