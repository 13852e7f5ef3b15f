// Y'CbCr 4:4:4 of limited range in 10 bits -> 8-bit RGB. In whole numbers: the same bytes on every
// machine. Samples are levels of 8 bits, compressed so that what a filter overshoots is not cut
// off before it is RGB: 4 * (16 + 219/255 level) of luma, 512 + 4 * 224/255 (level - 128) of
// colour.
#pragma once

#include <cstdint>
#include <span>

namespace zoetrope::data {

struct YuvWeights {  // in units of 2^-18 of a level
  std::int32_t black = 0, y = 0, cr_to_red = 0, cb_to_green = 0, cr_to_green = 0, cb_to_blue = 0;
};

class YuvToRgb {
 public:
  YuvToRgb() = default;
  // `coefficients` as sws_getCoefficients gives them for a matrix: of Cr for red, Cb for blue, Cb
  // and Cr (both subtracted) for green, in units of 2^-16.
  explicit YuvToRgb(const int* coefficients);
  // One row; `rgb` gets three bytes for each sample, each the nearest to the exact value.
  void map_row(std::span<const std::uint16_t> y, const std::uint16_t* cb, const std::uint16_t* cr,
               std::uint8_t* rgb) const;

 private:
  YuvWeights weights_;
};

}  // namespace zoetrope::data
