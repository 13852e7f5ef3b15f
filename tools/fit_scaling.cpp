// fit_scaling: finished runs -> the power law of loss over compute, and the best size for a budget.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "data/plot.h"
#include "data/video_writer.h"
#include "launch/run_main.h"
#include "train/scaling.h"

namespace po = boost::program_options;

namespace zoetrope {
namespace {

constexpr const char* kUsage = "fit_scaling RUN_FOLDER...";
constexpr const char* kExamples =
    "  fit_scaling runs/small runs/medium runs/large --plot scaling.png\n"
    "Runs need held-out losses: train with --set validation.every_steps=N. Sizes differ for "
    "IsoFLOP\n"
    "minima; one size is enough for the law of loss over compute.\n";

Json or_null(double value) {
  return std::isfinite(value) ? Json(value) : Json();
}

void plot(const std::string& path, const std::vector<train::LossCurve>& curves,
          const train::ScalingFit& fit) {
  std::vector<data::PlotSeries> series;
  double low = INFINITY, high = 0;
  for (const train::LossCurve& curve : curves) {
    data::PlotSeries one{curve.name, {}, curve.loss};
    for (const double flops : curve.flops) one.x.push_back(std::log10(flops));
    low = std::min(low, one.x.front());
    high = std::max(high, one.x.back());
    series.push_back(one);
  }
  data::PlotSeries law{"law", {}, {}};
  for (int i = 0; i <= 100; ++i) {
    law.x.push_back(low + (high - low) * i / 100);
    law.y.push_back(fit.frontier.at(std::pow(10, law.x.back())));
  }
  series.push_back(law);
  data::PlotOptions options;
  options.title = "held-out loss over compute";
  options.x_label = "log10 FLOPs";
  options.y_label = "loss";
  options.log_y = true;
  const data::Frames picture = data::draw_plot(series, options);
  data::write_png(path, picture.rgb.data(), picture.height, picture.width);
}

int run(int argc, char** argv) {
  CommonOptions common;
  po::options_description own("Options of fit_scaling");
  own.add_options()("runs", po::value<std::vector<std::string>>(), "run folders")(
      "budgets", po::value<int>()->default_value(12), "levels of compute")(
      "plot", po::value<std::string>()->default_value(""), "PNG of curves and law");
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own, "runs", common, values)) return kExitOk;
  ZOETROPE_CHECK_CONFIG(values.count("runs") > 0, "no run folders: ", kUsage);
  const int budgets = values["budgets"].as<int>();
  ZOETROPE_CHECK_CONFIG(budgets >= 3, "--budgets ", budgets, " is less than 3");
  std::vector<train::LossCurve> curves;
  for (const std::string& run : values["runs"].as<std::vector<std::string>>()) {
    curves.push_back(train::read_loss_curve(run));
    const train::LossCurve& curve = curves.back();
    std::printf("%-24s %12.0f parameters  %.3g FLOPs  held-out loss %.5f\n", curve.name.c_str(),
                curve.parameters, curve.flops.back(), curve.loss.back());
  }
  const train::ScalingFit fit = train::fit_scaling(curves, budgets);
  std::printf("loss = %.5f + %.4g C^-%.4f\n", fit.frontier.offset, fit.frontier.scale,
              fit.frontier.exponent);
  Json minima = Json::array();
  for (const train::IsoFlop& minimum : fit.minima) {
    std::printf("%.3g FLOPs: best size %.4g parameters, loss %.5f\n", minimum.flops,
                minimum.parameters, minimum.loss);
    minima.push_back(
        {{"flops", minimum.flops}, {"parameters", minimum.parameters}, {"loss", minimum.loss}});
  }
  std::fflush(stdout);
  if (const auto& path = values["plot"].as<std::string>(); !path.empty()) plot(path, curves, fit);
  std::cout << Json{{"runs", curves.size()},
                    {"offset", fit.frontier.offset},
                    {"scale", fit.frontier.scale},
                    {"exponent", fit.frontier.exponent},
                    {"size_exponent", or_null(fit.size_exponent)},
                    {"minima", minima}}
            << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
