// Plots: what is drawn lies inside the picture and where the values say.

#include "data/plot.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "data/draw_text.h"

namespace zoetrope::data {
namespace {

// Rows in which a column holds the first line's blue.
std::vector<int> rows_of_line(const Frames& image, int x) {
  std::vector<int> rows;
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* pixel = image.frame(0) + 3 * (y * image.width + x);
    if (pixel[2] > pixel[0] + 100) rows.push_back(y);
  }
  return rows;
}

int count_line_pixels(const Frames& image) {
  int count = 0;
  for (int x = 0; x < image.width; ++x) {
    count += static_cast<int>(rows_of_line(image, x).size());
  }
  return count;
}

TEST(Plot, DrawsARisingLineFromBottomLeftToTopRight) {
  const Frames image = draw_plot({{"", {0, 1, 2}, {0, 5, 10}}}, {});
  EXPECT_EQ(image.num_frames, 1);
  EXPECT_EQ(image.rgb.size(), 3u * 720 * 400);
  int first = image.width, last = -1;
  for (int x = 0; x < image.width; ++x) {
    if (rows_of_line(image, x).empty()) continue;
    first = std::min(first, x);
    last = std::max(last, x);
  }
  EXPECT_GT(first, 40);
  EXPECT_LT(last, image.width - 10);
  EXPECT_GT(last - first, 500);
  const int left = rows_of_line(image, first + 2).front();
  const int right = rows_of_line(image, last - 2).front();
  EXPECT_GT(left, image.height / 2);
  EXPECT_LT(right, image.height / 3);
  const int middle = rows_of_line(image, (first + last) / 2).front();
  EXPECT_NEAR(middle, (left + right) / 2.0, 3);
}

TEST(Plot, InterruptsTheLineWhereAValueIsNotFinite) {
  const auto line = [](double middle) {
    return count_line_pixels(draw_plot({{"", {0, 1, 2, 3, 4}, {1, 2, middle, 4, 5}}}, {}));
  };
  EXPECT_LT(line(NAN), line(3) * 3 / 4);
  EXPECT_GT(line(NAN), line(3) / 4);
}

TEST(Plot, LogAxisDrawsAnExponentialAsAStraightLine) {
  PlotOptions options;
  options.log_y = true;
  PlotSeries decay{"", {}, {}};
  for (int i = 0; i <= 100; ++i) {
    decay.x.push_back(i);
    decay.y.push_back(std::pow(10, -i / 25.0));
  }
  const Frames image = draw_plot({decay}, options);
  const int at_200 = rows_of_line(image, 200).front(), at_350 = rows_of_line(image, 350).front();
  const int at_500 = rows_of_line(image, 500).front();
  EXPECT_GT(at_500, at_200 + 50);
  EXPECT_NEAR(at_350, (at_200 + at_500) / 2.0, 1.5);
}

TEST(Plot, DrawsConstantsSinglePointsAndHugeValues) {
  EXPECT_GT(count_line_pixels(draw_plot({{"", {0, 10}, {0, 0}}}, {})), 500);
  EXPECT_GT(count_line_pixels(draw_plot({{"", {3}, {7}}}, {})), 0);
  EXPECT_GT(count_line_pixels(draw_plot({{"", {0, 1}, {-1e30, 1e30}}}, {})), 300);
  EXPECT_GT(count_line_pixels(draw_plot({{"", {1e9, 1e9 + 1}, {1e-9, 2e-9}}}, {})), 300);
}

TEST(Plot, SaysWhenThereIsNothingToDraw) {
  const Frames none = draw_plot({}, {});
  const Frames bare = draw_plot({{"", {1, 2}, {NAN, INFINITY}}}, {});
  EXPECT_EQ(none.rgb, bare.rgb);
  EXPECT_EQ(count_line_pixels(none), 0);
  EXPECT_NE(none.rgb, draw_plot({{"", {1}, {1}}}, {}).rgb);
}

TEST(Plot, NamesEverySeriesInTheLegend) {
  const std::vector<PlotSeries> unnamed = {{"", {0, 1}, {0, 1}}, {"", {0, 1}, {1, 0}}};
  std::vector<PlotSeries> named = unnamed;
  named[0].name = "train";
  const Frames plain = draw_plot(unnamed, {}), one = draw_plot(named, {});
  named[1].name = "validation";
  const Frames two = draw_plot(named, {});
  EXPECT_NE(plain.rgb, one.rgb);
  EXPECT_NE(one.rgb, two.rgb);
}

TEST(Plot, RefusesUnequalListsAndTinyPictures) {
  EXPECT_THROW(draw_plot({{"loss", {0, 1}, {0}}}, {}), Error);
  PlotOptions tiny;
  tiny.width = 100;
  EXPECT_THROW(draw_plot({{"loss", {0, 1}, {0, 1}}}, tiny), Error);
}

TEST(Plot, TicksAreRoundAndCoverTheRange) {
  EXPECT_EQ(round_ticks(0, 10, 5), (std::vector<double>{0, 2, 4, 6, 8, 10}));
  EXPECT_EQ(round_ticks(-1, 1, 4), (std::vector<double>{-1, -0.5, 0, 0.5, 1}));
  EXPECT_EQ(round_ticks(3, 997, 5), (std::vector<double>{200, 400, 600, 800}));
  EXPECT_THROW(round_ticks(1, 1, 5), Error);
}

TEST(DrawText, StaysInsideThePicture) {
  Frames image;
  image.num_frames = 1;
  image.height = 10;
  image.width = 20;
  image.rgb.assign(image.frame_bytes(), 0);
  draw_text(image, 1, 1, "I", {255, 0, 0});
  EXPECT_GT(std::count(image.rgb.begin(), image.rgb.end(), 255), 8);
  const auto before = image.rgb;
  draw_text(image, -100, 2, "far", {0, 255, 0});
  draw_text(image, 300, 2, "far", {0, 255, 0});
  EXPECT_EQ(image.rgb, before);
  draw_text(image, -3, -3, "WWWWWW", {0, 0, 255}, 3);  // cut on every side
  EXPECT_NE(image.rgb, before);
  EXPECT_EQ(text_width_px("abc"), 17);
  EXPECT_EQ(text_width_px("abc", 2), 34);
  EXPECT_EQ(text_width_px(""), 0);
}

}  // namespace
}  // namespace zoetrope::data
