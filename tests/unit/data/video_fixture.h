// What the video tests share: a temporary folder, FFmpeg's own program to make odd files and
// reference pictures, and clips of plain colour patches.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "data/frames.h"
#include "data/video_reader.h"

namespace zoetrope::data {

class VideoTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "zoetrope_video_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file(const std::string& name) const { return folder_ / name; }

  std::filesystem::path write_text(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(file(name).parent_path());
    std::ofstream(file(name), std::ios::binary) << text;
    return file(name);
  }

  // Runs FFmpeg in the folder; its arguments end with the name of the file to make.
  void ffmpeg(const std::string& arguments) const {
    const std::string command =
        concat("cd '", folder_.string(), "' && ffmpeg -v error -nostdin -y ", arguments, " 2>&1");
    ASSERT_EQ(std::system(command.c_str()), 0) << command;
  }

  // A second of moving test pattern, 25 pictures.
  void make_pattern(const std::string& arguments) const {
    ffmpeg("-f lavfi -i testsrc2=size=160x120:rate=25:duration=1 " + arguments);
  }

  std::vector<std::uint8_t> bytes_of(const std::string& name) const {
    std::ifstream in(file(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  void truncate_to(const std::string& from, const std::string& to, int percent) const {
    std::vector<std::uint8_t> bytes = bytes_of(from);
    bytes.resize(bytes.size() * static_cast<std::size_t>(percent) / 100);
    std::ofstream(file(to), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }

  Frames read_whole(const std::string& name) { return read({.path = file(name)}); }

  Frames read(const DecodeRequest& request) {
    auto result = reader_.read(request);
    if (skipped(result)) {
      const SkipReason& reason = std::get<SkipReason>(result);
      ADD_FAILURE() << reason.code << ": " << reason.detail;
      return {};
    }
    return std::get<Frames>(std::move(result));
  }

  std::string skip_code(const DecodeRequest& request) {
    const auto result = reader_.read(request);
    return skipped(result) ? std::get<SkipReason>(result).code : "";
  }
  std::string skip_code(const std::string& name) {
    return skip_code(DecodeRequest{.path = file(name)});
  }

  std::filesystem::path folder_;
  VideoReader reader_;
};

using Rgb = std::array<int, 3>;

// Four patches of plain colour, moved by one place in each frame; sides must be even.
inline const std::array<Rgb, 4>& patch_colours() {
  static const std::array<Rgb, 4> colours = {
      {{230, 40, 30}, {20, 200, 60}, {40, 60, 210}, {240, 240, 200}}};
  return colours;
}

inline int patch_at(int x, int y, int width, int height, int frame) {
  return ((2 * y >= height ? 2 : 0) + (2 * x >= width ? 1 : 0) + frame) % 4;
}

inline Frames make_patches(int num_frames, int height, int width) {
  Frames frames;
  frames.num_frames = num_frames;
  frames.height = height;
  frames.width = width;
  frames.rgb.resize(num_frames * frames.frame_bytes());
  for (int index = 0; index < num_frames; ++index) {
    std::uint8_t* pixel = frames.frame(index);
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        for (const int level : patch_colours()[patch_at(x, y, width, height, index)]) {
          *pixel++ = static_cast<std::uint8_t>(level);
        }
      }
    }
  }
  return frames;
}

inline Rgb pixel_of(const Frames& frames, int index, int x, int y) {
  const std::uint8_t* pixel = frames.frame(index) + (std::size_t{3} * y * frames.width + 3 * x);
  return {pixel[0], pixel[1], pixel[2]};
}

inline int difference(const Rgb& one, const Rgb& other) {
  int most = 0;
  for (int channel = 0; channel < 3; ++channel) {
    most = std::max(most, std::abs(one[channel] - other[channel]));
  }
  return most;
}

// The largest difference of any byte; -1 when the sizes differ.
inline int difference(const std::vector<std::uint8_t>& one,
                      const std::vector<std::uint8_t>& other) {
  if (one.size() != other.size()) return -1;
  int most = 0;
  for (std::size_t index = 0; index < one.size(); ++index) {
    most = std::max(most, std::abs(int{one[index]} - int{other[index]}));
  }
  return most;
}

}  // namespace zoetrope::data
