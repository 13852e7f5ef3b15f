// See yuv_to_rgb.h.

#include "data/yuv_to_rgb.h"

#include <cmath>

// One clone an instruction set, picked when the program starts. Sanitizers run before that is
// possible.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define ZOETROPE_VECTORISED_ROWS [[gnu::optimize("O3"), gnu::target_clones("avx2", "default")]]
#else
#define ZOETROPE_VECTORISED_ROWS
#endif

namespace zoetrope::data {

namespace {

constexpr int kUnitBits = 18;
constexpr std::int32_t kHalfLevel = 1 << (kUnitBits - 1);
constexpr std::int32_t kNoColour = 512;
constexpr double kLuma = 219.0 / 255,
                 kColour = 224.0 / 255;  // of limited range, and how far it is compressed once more

[[gnu::always_inline]] inline std::uint8_t level_of(std::int32_t sum) {
  const std::int32_t level = sum >> kUnitBits;
  return static_cast<std::uint8_t>(level < 0 ? 0 : (level > 255 ? 255 : level));
}

// Sums stay below 2^30: (1023 * 1.4 + 512 * 2.5) * 2^16.
ZOETROPE_VECTORISED_ROWS
void convert_row(const std::uint16_t* __restrict y, const std::uint16_t* __restrict cb,
                 const std::uint16_t* __restrict cr, std::size_t count, YuvWeights weights,
                 std::uint8_t* __restrict rgb) {
  for (std::size_t x = 0; x < count; ++x) {
    const std::int32_t luma = weights.y * y[x] - weights.black + kHalfLevel;
    const std::int32_t blue = cb[x] - kNoColour, red = cr[x] - kNoColour;
    rgb[3 * x] = level_of(luma + weights.cr_to_red * red);
    rgb[3 * x + 1] = level_of(luma - weights.cb_to_green * blue - weights.cr_to_green * red);
    rgb[3 * x + 2] = level_of(luma + weights.cb_to_blue * blue);
  }
}

}  // namespace

YuvToRgb::YuvToRgb(const int* coefficients) {
  const auto round = [](double weight) { return static_cast<std::int32_t>(std::lround(weight)); };
  // A level is 4 steps of a sample, which the 2 bits between 2^-16 and 2^-18 take back.
  const double first = 4 * (16 + kLuma * 16);  // the sample of black
  const double from_y = (1 << 16) / (kLuma * kLuma);
  weights_ = {.black = round(from_y * first),
              .y = round(from_y),
              .cr_to_red = round(coefficients[0] / kColour),
              .cb_to_green = round(coefficients[2] / kColour),
              .cr_to_green = round(coefficients[3] / kColour),
              .cb_to_blue = round(coefficients[1] / kColour)};
}

void YuvToRgb::map_row(std::span<const std::uint16_t> y, const std::uint16_t* cb,
                       const std::uint16_t* cr, std::uint8_t* rgb) const {
  convert_row(y.data(), cb, cr, y.size(), weights_, rgb);
}

}  // namespace zoetrope::data
