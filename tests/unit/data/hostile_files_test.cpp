// Broken and hostile files by the hundred, or as many as ZOETROPE_HOSTILE_FILES says: each ends as
// pictures or as a reason, in time, and none makes the decoder open a file that was not named.

#include <chrono>
#include <iostream>
#include <map>
#include <random>

#include <sys/inotify.h>

#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::uint8_t>;

constexpr double kWallS = 20;
constexpr int kUsualFiles = 300;

int num_files() {
  const char* wanted = std::getenv("ZOETROPE_HOSTILE_FILES");
  return wanted == nullptr ? kUsualFiles : std::atoi(wanted);
}

std::uint64_t first_seed() {
  const char* wanted = std::getenv("ZOETROPE_HOSTILE_SEED");
  return wanted == nullptr ? 1 : std::strtoull(wanted, nullptr, 10);
}

class HostileFilesTest : public VideoTest {
 protected:
  HostileFilesTest() : limited_({.memory_bytes = std::int64_t{1} << 30, .wall_s = kWallS}) {}

  std::vector<std::string> make_good_files() const {
    const std::vector<std::pair<std::string, std::string>> made = {
        {"h264.mp4", "-c:v libx264 -pix_fmt yuv420p -movflags +faststart"},
        {"cut.mp4", "-c:v libx264 -pix_fmt yuv420p -movflags frag_keyframe+empty_moov -g 5"},
        {"vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8"},
        {"mpeg2.ts", "-c:v mpeg2video -bf 2"},
        {"mpeg4.avi", "-c:v mpeg4"},
        {"ffv1.mkv", "-c:v ffv1"},
        {"moving.gif", ""},
        {"still.png", "-frames:v 1"},
        {"still.jpg", "-frames:v 1"},
        {"still.webp", "-frames:v 1"}};
    std::vector<std::string> names;
    for (const auto& [name, how] : made) {
      ffmpeg(concat("-f lavfi -i testsrc2=size=64x48:rate=10:duration=1 ", how, " ", name));
      names.push_back(name);
    }
    return names;
  }

  // The kinds of harm: cut, noise of 0.1 to 1 % of the bytes, a stretch of zeros, a stretch moved.
  static Bytes harmed(Bytes bytes, std::mt19937_64& random) {
    auto below = [&](std::size_t end) { return static_cast<std::size_t>(random() % end); };
    const std::size_t kind = below(5);
    if (kind == 0) bytes.resize(below(bytes.size()));
    if (kind == 1 || kind == 2) {
      const std::size_t flips = 1 + bytes.size() * (1 + below(10)) / 1000;
      for (std::size_t flip = 0; flip < flips; ++flip)
        bytes[below(bytes.size())] ^= static_cast<std::uint8_t>(1U << below(8));
    }
    if (kind >= 3) {
      const std::size_t length = 1 + below(std::min<std::size_t>(bytes.size() / 4, 400));
      const std::size_t from = below(bytes.size() - length), to = below(bytes.size() - length);
      const Bytes moved(bytes.begin() + from, bytes.begin() + from + length);
      for (std::size_t at = 0; at < length; ++at) bytes[to + at] = kind == 3 ? 0 : moved[at];
    }
    return bytes;
  }

  // What became of a file, as a countable word.
  std::string outcome(const std::string& name) {
    const auto start = std::chrono::steady_clock::now();
    const auto result = limited_.read({.path = file(name), .max_pixels = 1024});
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    EXPECT_LT(taken.count(), 2 * kWallS + 60) << name;  // at most one more try with a fresh decoder
    if (!skipped(result)) {
      EXPECT_GT(std::get<Frames>(result).num_frames, 0);
      return "decoded";
    }
    EXPECT_FALSE(std::get<SkipReason>(result).detail.empty());
    return std::get<SkipReason>(result).code;
  }

  VideoReader limited_;
};

TEST_F(HostileFilesTest, EachEndsAsPicturesOrAsAReason) {
  const std::vector<std::string> names = make_good_files();
  std::vector<Bytes> good;
  for (const std::string& name : names) good.push_back(bytes_of(name));
  std::map<std::string, int> counts;
  for (int index = 0; index < num_files(); ++index) {
    std::mt19937_64 random(first_seed() + static_cast<std::uint64_t>(index));
    const std::size_t which = random() % good.size();
    const std::string end = fs::path(names[random() % good.size()]).extension();  // often wrong
    const Bytes bytes = harmed(good[which], random);
    write_text("harmed" + end, std::string(bytes.begin(), bytes.end()));
    const std::string code = outcome("harmed" + end);
    EXPECT_FALSE(code.empty()) << "seed " << first_seed() + static_cast<std::uint64_t>(index);
    EXPECT_NE(code, "decoder_error") << "seed " << first_seed() + static_cast<std::uint64_t>(index);
    ++counts[code];
  }
  for (const auto& [code, count] : counts) std::cout << code << " " << count << "\n";
  EXPECT_EQ(read_whole(names[0]).num_frames, 10);
}

TEST_F(HostileFilesTest, NothingIsOpenedThatWasNotNamed) {
  ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=10:duration=1 -c:v mpeg2video decoy.ts");
  ffmpeg("-i decoy.ts -c:v libx264 -pix_fmt yuv420p decoy.mp4");
  const std::string here = folder_.string();
  const std::map<std::string, std::string> lures = {
      {"hls.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nfile://" + here +
                      "/decoy.ts\n#EXT-X-ENDLIST\n"},
      {"key.mp4",
       "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXT-X-KEY:METHOD=AES-128,URI=\"decoy.ts\"\n"
       "#EXTINF:1,\ndecoy.ts\n#EXT-X-ENDLIST\n"},
      {"concat.mp4", "ffconcat version 1.0\nfile decoy.mp4\n"},
      {"dash.mp4", "<?xml version=\"1.0\"?>\n<MPD><BaseURL>" + here +
                       "/decoy.mp4</BaseURL><Period><AdaptationSet mimeType=\"video/mp4\">"
                       "<Representation id=\"1\" bandwidth=\"1\"/></AdaptationSet></Period></MPD>"},
      {"drawing.png", "<svg xmlns=\"http://www.w3.org/2000/svg\"><image href=\"file://" + here +
                          "/decoy.mp4\"/></svg>"},
      {"list.avi", "decoy.mp4\n"},
      {"session.mp4", "v=0\nm=video 5004 RTP/AVP 96\na=control:" + here + "/decoy.mp4\n"}};
  const int watch = inotify_init1(IN_NONBLOCK);
  ASSERT_GE(watch, 0);
  for (const char* decoy : {"decoy.ts", "decoy.mp4"})
    ASSERT_GE(inotify_add_watch(watch, file(decoy).c_str(), IN_OPEN | IN_ACCESS), 0);
  char events[4096];
  for (const auto& [name, text] : lures) {
    write_text(name, text);
    EXPECT_EQ(outcome(name), "not_a_video") << name;
    EXPECT_EQ(::read(watch, events, sizeof(events)), -1) << name << " made it open a decoy";
  }
  EXPECT_EQ(outcome("decoy.mp4"), "decoded");
  EXPECT_GT(::read(watch, events, sizeof(events)), 0) << "the watch does not see anything";
  close(watch);
}

}  // namespace
}  // namespace zoetrope::data
