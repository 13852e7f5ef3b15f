// HDR videos against FFmpeg's own chain (zscale, tonemap), and known points of the curves.

#include "data/tone_map.h"

#include <array>
#include <cmath>

#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

class HdrTest : public VideoTest {
 protected:
  void make_hdr(const std::string& transfer, const std::string& name,
                const std::string& format = "yuv444p10le", const std::string& source = "") const {
    ffmpeg(concat("-f lavfi -i testsrc2=size=160x120:rate=5:duration=1,format=gbrp", source,
                  " -vf zscale=", "tin=bt709:pin=bt709:rin=full:t=", transfer,
                  ":p=2020:m=2020_ncl:r=limited:npl=400,format=", format, " -c:v ffv1 ", name));
  }
  // The largest difference to FFmpeg's picture where that is darker than level 24, the largest
  // elsewhere, and the mean. In the dark x^(1/2.4) is steep: 1e-5 of linear light is two levels.
  struct Errors {
    int dark = 255, bright = 255;
    double mean = 255;
  };
  Errors error_of(const std::string& name, const std::string& peak) {
    ffmpeg(concat("-i ", name,
                  " -vf zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=709,tonemap=hable:desat=0"
                  ":peak=",
                  peak,
                  ",zscale=t=709:r=full,format=gbrp -pix_fmt rgb24 -f rawvideo "
                  "reference.rgb"));
    const Frames frames = read({.path = file(name), .tone_map_hdr = true});
    const auto reference = bytes_of("reference.rgb");
    EXPECT_EQ(frames.rgb.size(), reference.size());
    if (frames.rgb.size() != reference.size()) return {};
    Errors errors{0, 0, 0};
    for (std::size_t i = 0; i < reference.size(); ++i) {
      const int error = std::abs(int{frames.rgb[i]} - int{reference[i]});
      int& most = reference[i] < 24 ? errors.dark : errors.bright;
      most = std::max(most, error);
      errors.mean += error / static_cast<double>(reference.size());
    }
    return errors;
  }
};

void expect_small(const auto& errors, const std::string& what) {
  EXPECT_LE(errors.dark, 4) << what;
  EXPECT_LE(errors.bright, 2) << what;
  EXPECT_LE(errors.mean, 0.5) << what;
}

TEST_F(HdrTest, PqEqualsFfmpegsChain) {
  for (const std::string format : {"yuv444p10le", "yuv444p12le"}) {
    make_hdr("smpte2084", "pq.mkv", format);
    expect_small(error_of("pq.mkv", "10"), format);
  }
}

TEST_F(HdrTest, GrayHlgEqualsFfmpegsChain) {
  // Only gray: FFmpeg's zscale applies the system gamma to each channel, BT.2100 to the luminance.
  make_hdr("arib-std-b67", "hlg.mkv", "yuv444p10le", ",hue=s=0,format=gbrp");
  expect_small(error_of("hlg.mkv", "10"), "HLG");
}

TEST_F(HdrTest, IsRefusedUnlessAskedFor) {
  make_hdr("smpte2084", "pq.mkv");
  EXPECT_EQ(skip_code("pq.mkv"), "hdr_unsupported");
}

TEST_F(HdrTest, ScalesAndTurnsLikeOtherPictures) {
  make_hdr("smpte2084", "pq.mkv", "yuv420p10le");
  const Frames small = read(
      {.path = file("pq.mkv"), .max_pixels = 80 * 60, .size_multiple = 16, .tone_map_hdr = true});
  EXPECT_EQ(small.width, 80);
  EXPECT_EQ(small.height, 48);
}

TEST(ToneMap, KnownPoints) {
  std::array<std::uint8_t, 3> sdr;
  auto gray = [&](HdrTransfer transfer, double signal, double peak_nits) {
    const auto y = static_cast<std::uint16_t>(std::lround(4096 + signal * 219 * 256));
    const std::uint16_t chroma = 32768;
    ToneMap({.transfer = transfer, .peak_nits = peak_nits})
        .map_row({&y, 1}, &chroma, &chroma, sdr.data());
    EXPECT_EQ(sdr[0], sdr[1]);
    EXPECT_EQ(sdr[0], sdr[2]);
    return int{sdr[0]};
  };
  EXPECT_EQ(gray(HdrTransfer::kPq, 0, 1000), 0);
  EXPECT_EQ(gray(HdrTransfer::kPq, 0.7518271, 1000), 255);  // 1,000 nits (BT.2100 table)
  EXPECT_EQ(gray(HdrTransfer::kPq, 1, 10000), 255);
  EXPECT_EQ(gray(HdrTransfer::kHlg, 1, 1000), 255);
  // 203 nits by hand: 255 (f(2.03) / f(10))^(1/2.4), f(2.03) = .36056, f(10) = .70633.
  EXPECT_NEAR(gray(HdrTransfer::kPq, 0.5806889, 1000), 192.6, 1);
}

TEST(ToneMap, HlgGammaActsOnTheLuminance) {
  // R' G' B' = 0.75, 0.5, 0.25, worked out in double precision with NumPy from the formulas above.
  const std::array<double, 3> rgb = {0.75, 0.5, 0.25};
  const double y = 0.2627 * rgb[0] + 0.678 * rgb[1] + 0.0593 * rgb[2];
  auto sample = [](double value, double zero, double span) {
    return static_cast<std::uint16_t>(std::lround(zero + value * span));
  };
  const std::uint16_t luma = sample(y, 4096, 219 * 256);
  const std::uint16_t cb = sample((rgb[2] - y) / 1.8814, 32768, 224 * 256);
  const std::uint16_t cr = sample((rgb[0] - y) / 1.4746, 32768, 224 * 256);
  std::array<std::uint8_t, 3> sdr;
  ToneMap({.transfer = HdrTransfer::kHlg}).map_row({&luma, 1}, &cb, &cr, sdr.data());
  EXPECT_NEAR(sdr[0], 204.3, 1);
  EXPECT_NEAR(sdr[1], 94.5, 1);
  EXPECT_NEAR(sdr[2], 44.6, 1);
}

}  // namespace
}  // namespace zoetrope::data
