// The layout of contact sheets: where cells lie, how they are scaled, what is written under them.

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/pixel_font.h"
#include "data/video_writer.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

Frames plain(int num_frames, int height, int width) {
  Frames frames = make_patches(num_frames, height, width);
  for (int index = 0; index < num_frames; ++index) {
    std::fill(frames.frame(index), frames.frame(index) + frames.frame_bytes(),
              static_cast<std::uint8_t>(100 + index));
  }
  return frames;
}

TEST(ContactSheet, SpreadsFramesFromFirstToLast) {
  const Frames clip = plain(101, 20, 30);
  const Frames sheet = contact_sheet({{&clip, "clip"}}, 5, 30);
  EXPECT_EQ(sheet.num_frames, 1);
  EXPECT_EQ(sheet.width, 4 + 5 * (30 + 4));
  for (int column = 0; column < 5; ++column) {
    const int level = 100 + 25 * column;
    EXPECT_EQ(pixel_of(sheet, 0, 4 + column * 34, 4), (Rgb{level, level, level}));
    EXPECT_EQ(pixel_of(sheet, 0, 4 + column * 34 + 29, 4 + 19), (Rgb{level, level, level}));
  }
}

TEST(ContactSheet, KeepsAspectAndDoesNotEnlarge) {
  const Frames wide = plain(2, 100, 400), small = plain(2, 10, 10);
  const Frames sheet = contact_sheet({{&wide, ""}, {&small, ""}}, 2, 96);
  const int caption_px = kGlyphHeight + 8;
  EXPECT_EQ(sheet.width, 4 + 2 * (96 + 4));
  EXPECT_EQ(sheet.height, 4 + 24 + caption_px + 10 + caption_px);
  EXPECT_EQ(pixel_of(sheet, 0, 4, 4 + 24 + caption_px)[0], 100);
  EXPECT_EQ(pixel_of(sheet, 0, 4 + 10, 4 + 24 + caption_px)[0], 24);
}

TEST(ContactSheet, ShrinksByAveraging) {
  Frames stripes = plain(1, 8, 8);
  for (int y = 0; y < 8; ++y) {
    for (int x = 0; x < 8; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        stripes.rgb[static_cast<std::size_t>((y * 8 + x) * 3 + channel)] = x % 2 == 0 ? 0 : 200;
      }
    }
  }
  const Frames sheet = contact_sheet({{&stripes, ""}}, 1, 4);
  EXPECT_EQ(pixel_of(sheet, 0, 5, 5), (Rgb{100, 100, 100}));
}

TEST(ContactSheet, WritesTheCaptionAndCutsItToTheRow) {
  const Frames clip = plain(1, 20, 60);
  auto ink = [&](const std::string& caption) {
    const Frames sheet = contact_sheet({{&clip, caption}}, 1, 60);
    return std::count(sheet.rgb.begin(), sheet.rgb.end(), std::uint8_t{224});
  };
  EXPECT_EQ(ink(""), 0);
  EXPECT_EQ(ink("I"), 3 * 11);  // 7 + 2 * 2 pixels
  EXPECT_EQ(ink("\xc3\xa9"), ink("??"));
  EXPECT_EQ(ink("abcdefghijklmnop"), ink("abcdefg..."));
}

TEST(ContactSheet, RefusesEmptyRows) {
  const Frames none;
  EXPECT_THROW(contact_sheet({}), Error);
  EXPECT_THROW(contact_sheet({{nullptr, "x"}}), Error);
  EXPECT_THROW(contact_sheet({{&none, "x"}}), Error);
}

}  // namespace
}  // namespace zoetrope::data
