// See clip_scores.h. Brightness and the like are means over the pictures; motion is measured on
// shrunk pictures, on at most kMostPairs pairs spread over the clip.

#include "data/clip_scores.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <optional>

#include "base/error.h"
#include "data/camera_motion.h"
#include "data/small_luma.h"
#include "data/text_overlay.h"

namespace zoetrope::data {

namespace {

constexpr int kMotionSide = 96;  // pixels of the longer side
constexpr int kMostPairs = 24;
constexpr int kCameraStep = 4;         // frames between the two pictures of a camera's move
constexpr double kStillPixels = 0.1;   // mean motion of a pair that stands still
constexpr double kFrozenLevels = 0.1;  // mean difference of a picture shown again
constexpr double kBlackLevel = 32;     // 99 % of a black picture's pixels are darker
constexpr double kBarLevel = 28;       // and all of a black bar's
constexpr int kHashSide = 32, kHashBits = 64;
constexpr int kTextPictures = 5;

double mean_level(const std::vector<float>& levels) {
  double sum = 0;
  for (const float level : levels) sum += level;
  return sum / static_cast<double>(levels.size());
}

double deviation_of(const std::vector<float>& levels) {
  const double mean = mean_level(levels);
  double sum = 0;
  for (const float level : levels) sum += (level - mean) * (level - mean);
  return std::sqrt(sum / static_cast<double>(levels.size()));
}

// Root mean square of the Laplacian (four neighbours).
double sharpness_of(const LumaPicture& picture) {
  double sum = 0;
  std::size_t count = 0;
  for (int y = 1; y + 1 < picture.height; ++y) {
    for (int x = 1; x + 1 < picture.width; ++x, ++count) {
      const double laplacian = picture.at(y - 1, x) + picture.at(y + 1, x) + picture.at(y, x - 1) +
                               picture.at(y, x + 1) - 4 * picture.at(y, x);
      sum += laplacian * laplacian;
    }
  }
  return count == 0 ? 0 : std::sqrt(sum / static_cast<double>(count));
}

bool is_black(const LumaPicture& picture) {
  const auto bright = std::count_if(picture.levels.begin(), picture.levels.end(),
                                    [](float level) { return level >= kBlackLevel; });
  return static_cast<double>(bright) <= 0.01 * static_cast<double>(picture.levels.size());
}

double mean_distance(const LumaPicture& one, const LumaPicture& other) {
  double sum = 0;
  for (std::size_t at = 0; at < one.levels.size(); ++at)
    sum += std::abs(one.levels[at] - other.levels[at]);
  return sum / static_cast<double>(one.levels.size());
}

// The share of dark lines at both ends of `brightest`, the largest level seen on each line.
double dark_ends(const std::vector<float>& brightest) {
  const auto is_bright = [](float level) { return level >= kBarLevel; };
  const auto first = std::find_if(brightest.begin(), brightest.end(), is_bright);
  if (first == brightest.end()) return 0;  // wholly black: no bars around a picture
  const auto last = std::find_if(brightest.rbegin(), brightest.rend(), is_bright);
  return static_cast<double>((first - brightest.begin()) + (last - brightest.rbegin())) /
         static_cast<double>(brightest.size());
}

// What all pictures are asked for, one after the other.
class PictureScores {
 public:
  explicit PictureScores(const Frames& frames)
      : rows_(static_cast<std::size_t>(frames.height)),
        columns_(static_cast<std::size_t>(frames.width)) {}

  void add(LumaPicture picture) {
    ++count_;
    brightness_ += mean_level(picture.levels) / 255;
    contrast_ += deviation_of(picture.levels) / 255;
    sharpness_ += sharpness_of(picture) / 255;
    black_ += is_black(picture) ? 1 : 0;
    if (before_) frozen_ += mean_distance(*before_, picture) < kFrozenLevels ? 1 : 0;
    for (int y = 0; y < picture.height; ++y) {
      for (int x = 0; x < picture.width; ++x) {
        const float level = picture.at(y, x);
        auto& row = rows_[static_cast<std::size_t>(y)];
        auto& column = columns_[static_cast<std::size_t>(x)];
        row = std::max(row, level);
        column = std::max(column, level);
      }
    }
    before_ = std::move(picture);
  }

  void put(std::map<std::string, double>& numbers) const {
    const double rows = dark_ends(rows_), columns = dark_ends(columns_);
    numbers["brightness"] = brightness_ / count_;
    numbers["contrast"] = contrast_ / count_;
    numbers["sharpness"] = sharpness_ / count_;
    numbers["black_share"] = black_ / count_;
    numbers["letterbox_share"] = 1 - (1 - rows) * (1 - columns);
    if (count_ > 1) numbers["frozen_share"] = frozen_ / (count_ - 1);
  }

 private:
  double count_ = 0, brightness_ = 0, contrast_ = 0, sharpness_ = 0, black_ = 0, frozen_ = 0;
  std::vector<float> rows_, columns_;  // largest level of each in all pictures
  std::optional<LumaPicture> before_;
};

LumaPicture motion_picture(const Frames& frames, int index) {
  const double scale = std::min(1.0, double{kMotionSide} / std::max(frames.height, frames.width));
  auto side = [&](int length) {
    return std::max(1, static_cast<int>(std::lround(length * scale)));
  };
  return shrunk(luma_of(frames, index), side(frames.height), side(frames.width));
}

// Pairs of pictures `step` frames apart, spread evenly; calls use(first, second picture).
template <class Use>
void for_pairs(const Frames& frames, int step, const Use& use) {
  const int last = frames.num_frames - 1 - step;
  const int pairs = std::min(kMostPairs, last + 1);
  for (int pair = 0; pair < pairs; ++pair) {
    const int first =
        pairs == 1 ? 0 : static_cast<int>(std::lround(double(last) * pair / (pairs - 1)));
    use(motion_picture(frames, first), motion_picture(frames, first + step));
  }
}

double mean_motion(const std::vector<BlockMotion>& blocks) {
  double sum = 0;
  int count = 0;
  for (const BlockMotion& block : blocks) {
    if (!block.textured) continue;
    sum += std::hypot(block.dx, block.dy);
    ++count;
  }
  return count == 0 ? 0 : sum / count;
}

void put_motion(const Frames& frames, ClipScores& scores) {
  double motion = 0, still = 0, pairs = 0;
  int side = 1;
  std::vector<CameraMove> near, far;
  for_pairs(frames, 1, [&](const LumaPicture& before, const LumaPicture& after) {
    const auto blocks = block_motion(before, after);
    const double moved = mean_motion(blocks);
    motion += moved;
    still += moved < kStillPixels ? 1 : 0;
    ++pairs;
    near.push_back(fit_camera(blocks));
    side = std::max(after.height, after.width);
  });
  const double fps = frames.fps > 0 ? frames.fps : 1;
  scores.numbers["motion"] = motion / pairs / side * fps;
  scores.numbers["static_share"] = still / pairs;
  // Slow moves show only over some frames, fast ones only from one to the next.
  const int step = std::min(kCameraStep, frames.num_frames - 1);
  for_pairs(frames, step, [&](const LumaPicture& before, const LumaPicture& after) {
    far.push_back(fit_camera(block_motion(before, after)));
  });
  scores.camera = camera_name(far, step / fps, side);
  if (scores.camera == "mixed") scores.camera = camera_name(near, 1 / fps, side);
}

double text_share_of(const Frames& frames) {
  const int count = std::min(kTextPictures, frames.num_frames);
  std::vector<LumaPicture> pictures;
  for (int picture = 0; picture < count; ++picture) {
    const int index = count == 1 ? 0 : picture * (frames.num_frames - 1) / (count - 1);
    pictures.push_back(luma_of(frames, index));
  }
  return text_share(pictures);
}

// Signs of the 64 lowest DCT coefficients but the first, against their median.
std::uint64_t look_of(const LumaPicture& picture) {
  const LumaPicture small =
      shrunk(picture, std::min(kHashSide, picture.height), std::min(kHashSide, picture.width));
  auto wave = [](int frequency, int at, int length) {
    return std::cos(std::numbers::pi * frequency * (at + 0.5) / length);
  };
  std::array<double, kHashBits> coefficients{};
  for (int bit = 0; bit < kHashBits; ++bit) {
    const int v = (bit + 1) / 8 % 8, u = (bit + 1) % 8;
    const int down = bit + 1 == kHashBits ? 8 : v;  // (8, 0) in the place of (0, 0)
    for (int y = 0; y < small.height; ++y) {
      double row = 0;
      for (int x = 0; x < small.width; ++x) row += small.at(y, x) * wave(u, x, small.width);
      coefficients[static_cast<std::size_t>(bit)] += row * wave(down, y, small.height);
    }
  }
  auto sorted = coefficients;
  std::nth_element(sorted.begin(), sorted.begin() + kHashBits / 2, sorted.end());
  std::uint64_t bits = 0;
  for (int bit = 0; bit < kHashBits; ++bit) {
    if (coefficients[static_cast<std::size_t>(bit)] > sorted[kHashBits / 2])
      bits |= std::uint64_t{1} << bit;
  }
  return bits;
}

std::string look_of(const Frames& frames) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string look;
  for (const int index : {0, frames.num_frames / 2, frames.num_frames - 1}) {
    const std::uint64_t bits = look_of(luma_of(frames, index));
    for (int shift = kHashBits - 4; shift >= 0; shift -= 4) look += kDigits[bits >> shift & 15];
  }
  return look;
}

}  // namespace

ClipScores score_clip(const Frames& frames) {
  ZOETROPE_CHECK(frames.num_frames >= 1, "scores of no frames");
  ClipScores scores;
  PictureScores pictures(frames);
  for (int index = 0; index < frames.num_frames; ++index) pictures.add(luma_of(frames, index));
  pictures.put(scores.numbers);
  scores.numbers["text_share"] = text_share_of(frames);
  if (frames.num_frames > 1) put_motion(frames, scores);
  scores.look = look_of(frames);
  return scores;
}

int look_distance(const std::string& one, const std::string& other) {
  ZOETROPE_CHECK(one.size() == kLookDigits && other.size() == kLookDigits, "looks have ",
                 kLookDigits, " digits, not ", one.size(), " and ", other.size());
  int distance = 0;
  for (std::size_t at = 0; at < one.size(); at += 8) {
    const auto word = [&](const std::string& look) {
      return static_cast<std::uint32_t>(std::stoul(look.substr(at, 8), nullptr, 16));
    };
    distance += std::popcount(word(one) ^ word(other));
  }
  return distance;
}

}  // namespace zoetrope::data
