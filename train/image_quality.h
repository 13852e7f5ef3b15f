// How alike two clips of 8-bit frames are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace zoetrope::train {

// Peak signal-to-noise ratio in dB over all numbers; equal clips give infinity. Error when the
// sizes differ.
double psnr_db(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b);

constexpr int kSsimWindow = 11;  // pixels

// Structural similarity (Wang et al. 2004): mean over frames, colours and pixels of
// frames [T, H, W, 3], with a Gaussian window of 11 x 11 (deviation 1.5), K1 = 0.01, K2 = 0.03, and
// windows that lie wholly inside the frame. Error when a side is under
// kSsimWindow.
double ssim(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, int height,
            int width);

}  // namespace zoetrope::train
