// See plot.h. Lines are anti-aliased by their distance from each pixel's centre.
#include "data/plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "base/error.h"
#include "data/colour.h"
#include "data/draw_text.h"

namespace zoetrope::data {
namespace {

constexpr RgbColour kPaper = {255, 255, 255}, kInk = {40, 40, 40}, kGrid = {225, 225, 225};
// Distinct also for most colour-blind readers (Okabe and Ito).
constexpr std::array<RgbColour, 6> kLines = {
    {{0, 114, 178}, {213, 94, 0}, {0, 158, 115}, {204, 121, 167}, {230, 159, 0}, {86, 180, 233}}};
constexpr int kPadPx = 10;
constexpr double kLinePx = 1.6;

// Maps values to pixels of the plot's inner rectangle.
struct Axes {
  double left, right, top, bottom;      // pixels
  double x_low, x_high, y_low, y_high;  // values; y is a base-10 logarithm when log_y
  double to_x(double value) const {
    return left + (value - x_low) / (x_high - x_low) * (right - left);
  }
  double to_y(double value) const {
    return bottom - (value - y_low) / (y_high - y_low) * (bottom - top);
  }
};

double scaled(double y, bool log_y) {
  return log_y ? (y > 0 ? std::log10(y) : NAN) : y;
}

void mix(Frames& image, int x, int y, RgbColour colour, double share) {
  if (x < 0 || y < 0 || x >= image.width || y >= image.height || share <= 0) return;
  std::uint8_t* pixel = image.frame(0) + 3 * (static_cast<std::size_t>(y) * image.width + x);
  const std::array<int, 3> target = {colour.red, colour.green, colour.blue};
  for (int c = 0; c < 3; ++c) {
    pixel[c] = static_cast<std::uint8_t>(std::lround(pixel[c] + (target[c] - pixel[c]) * share));
  }
}

void draw_segment(Frames& image, double x0, double y0, double x1, double y1, RgbColour colour,
                  double width) {
  const double dx = x1 - x0, dy = y1 - y0, squared = dx * dx + dy * dy, reach = width / 2 + 1;
  const auto last = [](double value, int size) {
    return std::min(size - 1, static_cast<int>(value));
  };
  for (int y = std::max(0, static_cast<int>(std::min(y0, y1) - reach));
       y <= last(std::max(y0, y1) + reach, image.height); ++y) {
    for (int x = std::max(0, static_cast<int>(std::min(x0, x1) - reach));
         x <= last(std::max(x0, x1) + reach, image.width); ++x) {
      const double px = x + .5 - x0, py = y + .5 - y0;
      const double along = squared > 0 ? std::clamp((px * dx + py * dy) / squared, 0.0, 1.0) : 0;
      const double distance = std::hypot(px - along * dx, py - along * dy);
      mix(image, x, y, colour, std::clamp(width / 2 + .5 - distance, 0.0, 1.0));
    }
  }
}

// Straight lines of the frame and grid lie on whole pixels, so that they stay sharp.
void draw_rule(Frames& image, int x0, int y0, int x1, int y1, RgbColour colour) {
  for (int y = y0; y <= y1; ++y) {
    for (int x = x0; x <= x1; ++x) mix(image, x, y, colour, 1);
  }
}

std::string tick_text(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.10g", value);
  return text;
}

// Smallest and largest of what will be drawn; false when there is nothing.
bool find_ranges(const std::vector<PlotSeries>& series, bool log_y, Axes& axes) {
  axes.x_low = axes.y_low = INFINITY;
  axes.x_high = axes.y_high = -INFINITY;
  for (const PlotSeries& line : series) {
    ZOETROPE_CHECK(line.x.size() == line.y.size(), "plot series \"", line.name, "\" has ",
                   line.x.size(), " x and ", line.y.size(), " y values");
    for (std::size_t i = 0; i < line.x.size(); ++i) {
      const double y = scaled(line.y[i], log_y);
      if (!std::isfinite(line.x[i]) || !std::isfinite(y)) continue;
      axes.x_low = std::min(axes.x_low, line.x[i]);
      axes.x_high = std::max(axes.x_high, line.x[i]);
      axes.y_low = std::min(axes.y_low, y);
      axes.y_high = std::max(axes.y_high, y);
    }
  }
  return axes.x_low <= axes.x_high;
}

// A range of one value gets some room around it; others a little, so that no line lies on the
// frame.
void widen(double& low, double& high) {
  const double room = high - low > 1e-12 * std::max(std::abs(low), std::abs(high))
                          ? .04 * (high - low)
                          : std::max(.5 * std::abs(high), 1e-6);
  low -= room;
  high += room;
}

struct Tick {
  double at;  // on the axis
  std::string text;
};

// Under a decade round values, then 1-2-5 in each decade, from three decades on powers of ten.
std::vector<Tick> log_ticks(double low, double high) {
  std::vector<Tick> ticks;
  if (high - low < 1) {
    for (const double value : round_ticks(std::pow(10, low), std::pow(10, high), 6)) {
      if (value > 0) ticks.push_back({std::log10(value), tick_text(value)});
    }
    return ticks;
  }
  const int stride = std::max(1, static_cast<int>((high - low) / 8));
  for (int decade = static_cast<int>(std::floor(low)); decade <= high; decade += stride) {
    for (const int lead : {1, 2, 5}) {
      const double at = decade + std::log10(lead);
      if (at < low || at > high || (lead > 1 && high - low >= 3)) continue;
      ticks.push_back({at, tick_text(std::pow(10, at))});
    }
  }
  return ticks;
}

std::vector<Tick> y_ticks(const Axes& axes, bool log_y) {
  if (log_y) return log_ticks(axes.y_low, axes.y_high);
  std::vector<Tick> ticks;
  for (const double value : round_ticks(axes.y_low, axes.y_high, 6)) {
    ticks.push_back({value, tick_text(value)});
  }
  return ticks;
}

void draw_x_axis(Frames& image, const Axes& axes) {
  const int top = static_cast<int>(axes.top), bottom = static_cast<int>(axes.bottom);
  for (const double value : round_ticks(axes.x_low, axes.x_high, std::max(2, image.width / 110))) {
    const int x = static_cast<int>(axes.to_x(value));
    const std::string text = tick_text(value);
    draw_rule(image, x, top, x, bottom, kGrid);
    draw_text(image, x - text_width_px(text) / 2, bottom + 6, text, kInk);
  }
}

void draw_y_axis(Frames& image, const Axes& axes, const std::vector<Tick>& ticks) {
  const int left = static_cast<int>(axes.left), right = static_cast<int>(axes.right);
  for (const Tick& tick : ticks) {
    const int y = static_cast<int>(axes.to_y(tick.at));
    draw_rule(image, left, y, right, y, kGrid);
    draw_text(image, left - 6 - text_width_px(tick.text), y - text_height_px() / 2, tick.text,
              kInk);
  }
}

void draw_frame(Frames& image, const Axes& axes, const PlotOptions& options) {
  const int left = static_cast<int>(axes.left), bottom = static_cast<int>(axes.bottom);
  draw_rule(image, left, static_cast<int>(axes.top), left, bottom, kInk);
  draw_rule(image, left, bottom, static_cast<int>(axes.right), bottom, kInk);
  draw_text(image, kPadPx, kPadPx, options.title, kInk, 2);
  draw_text(image, kPadPx, kPadPx + 20, options.y_label, kInk);
  draw_text(image, static_cast<int>(axes.right) - text_width_px(options.x_label), bottom + 19,
            options.x_label, kInk);
}

void draw_series(Frames& image, const Axes& axes, const PlotSeries& line, bool log_y,
                 RgbColour colour) {
  bool joined = false;
  double last_x = 0, last_y = 0;
  for (std::size_t i = 0; i < line.x.size(); ++i) {
    const double value = scaled(line.y[i], log_y);
    const bool drawn = std::isfinite(line.x[i]) && std::isfinite(value);
    if (drawn) {
      const double x = axes.to_x(line.x[i]), y = axes.to_y(value);
      draw_segment(image, joined ? last_x : x, joined ? last_y : y, x, y, colour, kLinePx);
      last_x = x;
      last_y = y;
    }
    joined = drawn;
  }
}

// Right-aligned beside the title's second line, first series first.
void draw_legend(Frames& image, const std::vector<PlotSeries>& series) {
  int x = image.width - kPadPx;
  for (std::size_t i = series.size(); i-- > 0;) {
    if (series[i].name.empty()) continue;
    const RgbColour colour = kLines[i % kLines.size()];
    x -= text_width_px(series[i].name);
    draw_text(image, x, kPadPx + 20, series[i].name, kInk);
    draw_rule(image, x - 16, kPadPx + 22, x - 5, kPadPx + 24, colour);
    x -= 28;
  }
}

Frames blank(const PlotOptions& options) {
  ZOETROPE_CHECK(options.width >= 240 && options.height >= 160, "a plot of ", options.width, "x",
                 options.height, " pixels is smaller than 240x160");
  Frames image;
  image.num_frames = 1;
  image.height = options.height;
  image.width = options.width;
  image.pts_s = {0};
  image.rgb.assign(image.frame_bytes(), kPaper.red);
  return image;
}

}  // namespace

std::vector<double> round_ticks(double low, double high, int about) {
  ZOETROPE_CHECK(std::isfinite(low) && std::isfinite(high) && low < high && about >= 1,
                 "no ticks from ", low, " to ", high, " in ", about, " steps");
  const double rough = (high - low) / about, power = std::pow(10, std::floor(std::log10(rough)));
  const double lead = rough / power;
  const double step = power * (lead < 1.5 ? 1 : lead < 3.5 ? 2 : lead < 7.5 ? 5 : 10);
  std::vector<double> ticks;
  const auto last = static_cast<long long>(std::floor(high / step + 1e-9));
  for (auto i = static_cast<long long>(std::ceil(low / step - 1e-9)); i <= last; ++i) {
    ticks.push_back(static_cast<double>(i) * step);
  }
  return ticks;
}

Frames draw_plot(const std::vector<PlotSeries>& series, const PlotOptions& options) {
  Frames image = blank(options);
  Axes axes{};
  axes.top = kPadPx + 38;
  axes.bottom = options.height - kPadPx - 30;
  axes.left = kPadPx + 40;
  axes.right = options.width - kPadPx - 14;
  if (!find_ranges(series, options.log_y, axes)) {
    draw_frame(image, axes, options);
    draw_text(image, options.width / 2 - text_width_px("no data", 2) / 2, options.height / 2,
              "no data", kInk, 2);
    return image;
  }
  widen(axes.x_low, axes.x_high);
  widen(axes.y_low, axes.y_high);
  const std::vector<Tick> ticks = y_ticks(axes, options.log_y);
  for (const Tick& tick : ticks) {
    axes.left = std::max<double>(axes.left, kPadPx + 6 + text_width_px(tick.text));
  }
  draw_x_axis(image, axes);
  draw_y_axis(image, axes, ticks);
  draw_frame(image, axes, options);
  draw_legend(image, series);
  for (std::size_t i = 0; i < series.size(); ++i) {
    draw_series(image, axes, series[i], options.log_y, kLines[i % kLines.size()]);
  }
  return image;
}

}  // namespace zoetrope::data
