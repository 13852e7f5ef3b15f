// Line plots as pictures: loss curves with axes, ticks and a legend, without a plotting library.
#pragma once

#include <string>
#include <vector>

#include "data/frames.h"

namespace zoetrope::data {

// Points in the order in which they are joined. A point that is not finite interrupts the line.
struct PlotSeries {
  std::string name;  // in the legend; "" is left out of it
  std::vector<double> x, y;
};

struct PlotOptions {
  std::string title, x_label, y_label;
  int width = 720, height = 400;  // at least 240 x 160
  bool log_y = false;             // points at or below zero then interrupt the line
};

// One RGB frame. Without a single point to draw it says "no data". Throws Error when a series has
// more x than y or the reverse, or the picture is too small.
Frames draw_plot(const std::vector<PlotSeries>& series, const PlotOptions& options);

// Round numbers that cover [low, high] in about `about` steps of 1, 2 or 5 times a power of ten.
std::vector<double> round_ticks(double low, double high, int about);

}  // namespace zoetrope::data
