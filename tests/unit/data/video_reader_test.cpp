// VideoReader against files that are broken, hostile or no videos, and against a decoder that dies
// or hangs.

#include <atomic>
#include <chrono>
#include <cmath>
#include <csignal>
#include <set>
#include <thread>

#include <sys/stat.h>

#include "data/video_writer.h"
#include "tests/unit/data/video_fixture.h"

namespace zoetrope::data {
namespace {

namespace fs = std::filesystem;

class VideoReaderTest : public VideoTest {
 protected:
  // The decoders that this process has started.
  std::set<pid_t> children() const {
    std::set<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::ifstream stat(entry.path() / "stat");
      pid_t pid = 0, parent = 0;
      std::string name, state;
      if (!(stat >> pid >> name >> state >> parent)) continue;
      // The kernel keeps 15 letters of a name. Dead ones that nobody has waited for do not count.
      if (name == "(zoetrope_decode)" && parent == getpid() && pid > 1 && state != "Z")
        found.insert(pid);
    }
    return found;
  }

  // Processor time of a process so far; 0 when it is gone.
  static long work_ticks(pid_t pid) {
    std::ifstream stat(concat("/proc/", pid, "/stat"));
    std::string word;
    for (int field = 1; field < 14; ++field) stat >> word;
    long ticks = 0;
    return stat >> ticks ? ticks : 0;
  }

  // Starts the reader's child and tells which process it is.
  pid_t child_of(VideoReader& reader) {
    const std::set<pid_t> before = children();
    EXPECT_FALSE(skipped(reader.probe(file("good.mp4"))));
    for (const pid_t pid : children()) {
      if (before.count(pid) == 0) return pid;
    }
    throw Error("no decoder process was started");  // never hand out -1: kill(-1) is for everyone
  }

  // Signals one decoder and nobody else: kill() takes pids below 1 as groups or as everyone.
  static void signal_one(pid_t pid, int signal) {
    if (pid <= 1) throw Error(concat("pid ", pid, " is no decoder"));
    if (kill(pid, signal) != 0) throw Error(concat("kill ", pid, " failed"));
  }

  void make_good() { write_mp4(file("good.mp4"), make_patches(5, 32, 48), {}); }
};

TEST_F(VideoReaderTest, NamesWhatIsNoReadableFile) {
  write_text("empty.mp4", "");
  fs::create_directory(file("folder.mp4"));
  ASSERT_EQ(mkfifo(file("pipe.mp4").c_str(), 0600), 0);
  EXPECT_EQ(skip_code("empty.mp4"), "empty_file");
  EXPECT_EQ(skip_code("folder.mp4"), "not_a_file");
  EXPECT_EQ(skip_code("pipe.mp4"), "not_a_file");
  EXPECT_EQ(skip_code("missing.mp4"), "missing_file");
  const auto info = reader_.probe(file("missing.mp4"));
  ASSERT_TRUE(skipped(info));
  EXPECT_NE(std::get<SkipReason>(info).detail.find("missing.mp4"), std::string::npos);
}

TEST_F(VideoReaderTest, RejectsUnreadableFile) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  make_good();
  fs::permissions(file("good.mp4"), fs::perms::none);
  EXPECT_EQ(skip_code("good.mp4"), "unreadable");
}

// Growing by doubling would hold up to twice the clip.
TEST_F(VideoReaderTest, TakesRoomForTheClipAndLittleMore) {
  for (const std::string name : {"clip.mp4", "clip.mkv", "clip.ts"}) {
    ffmpeg("-f lavfi -i testsrc2=size=64x48:rate=25:duration=3.2 -c:v mpeg4 " + name);
    for (const double fps : {0.0, 13.0}) {
      const Frames frames = read({.path = file(name), .start_s = 0.4, .fps = fps});
      EXPECT_NEAR(frames.num_frames, fps > 0 ? 37 : 70, 2) << name;
      EXPECT_LE(frames.rgb.capacity(), frames.rgb.size() + 24 * frames.frame_bytes()) << name;
    }
  }
}

TEST_F(VideoReaderTest, RejectsTextAndPlaylistsWhateverTheirName) {
  write_text("secret.txt", "secret");
  write_text("text.mp4", "this is no video at all\n");
  write_text(
      "hls.mp4",
      "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n");
  write_text("concat.mp4", "ffconcat version 1.0\nfile secret.txt\n");
  write_text("session.mp4",
             "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
             "m=video 5004 RTP/AVP 96\r\n");
  for (const char* name : {"text.mp4", "hls.mp4", "concat.mp4", "session.mp4"}) {
    EXPECT_EQ(skip_code(name), "not_a_video") << name;
  }
}

TEST_F(VideoReaderTest, RejectsSoundAndCoverPictures) {
  ffmpeg("-f lavfi -i sine=duration=1 -c:a aac sound.mp4");
  make_pattern("-frames:v 1 cover.png");
  ffmpeg("-i sound.mp4 -i cover.png -map 0 -map 1 -c copy -disposition:v attached_pic song.m4a");
  EXPECT_EQ(skip_code("sound.mp4"), "no_video_stream");
  EXPECT_EQ(skip_code("song.m4a"), "no_video_stream");
}

TEST_F(VideoReaderTest, RefusesHdrInsteadOfShowingItWrong) {
  make_pattern("-pix_fmt yuv420p -c:v libx264 -color_trc smpte2084 -colorspace bt2020nc pq.mp4");
  make_pattern(
      "-pix_fmt yuv420p -c:v libx264 -color_trc arib-std-b67 -colorspace bt2020nc hlg.mp4");
  EXPECT_EQ(skip_code("pq.mp4"), "hdr_unsupported");
  EXPECT_EQ(skip_code("hlg.mp4"), "hdr_unsupported");
}

TEST_F(VideoReaderTest, KeepsTheWholeFramesOfTruncatedVideos) {
  make_pattern("-c:v libx264 -pix_fmt yuv420p -movflags +faststart whole.mp4");
  make_pattern("-c:v libx264 -pix_fmt yuv420p whole.mkv");
  make_pattern("-c:v mpeg2video -q:v 3 -bf 2 whole.ts");
  make_pattern("-c:v mjpeg -q:v 3 whole.avi");
  for (const std::string extension : {".mp4", ".mkv", ".ts", ".avi"}) {
    const Frames whole = read_whole("whole" + extension);
    ASSERT_EQ(whole.num_frames, 25) << extension;
    int last_count = 0;
    for (const int percent : {50, 75, 99}) {
      truncate_to("whole" + extension, "part" + extension, percent);
      const Frames part = read_whole("part" + extension);
      EXPECT_GT(part.num_frames, last_count) << extension << " at " << percent << " %";
      EXPECT_LT(part.num_frames, 25) << extension << " at " << percent << " %";
      last_count = part.num_frames;
      // What is kept is bit for bit what the whole file shows at that time. A picture that was
      // stored before the lost ones but is shown after them is whole, too.
      for (int index = 0; index < part.num_frames; ++index) {
        const auto same = static_cast<int>(std::lround(part.pts_s[index] * 25));
        ASSERT_LT(same, 25);
        EXPECT_TRUE(std::equal(part.frame(index), part.frame(index) + part.frame_bytes(),
                               whole.frame(same)))
            << extension << " at " << percent << " %, frame " << index;
      }
    }
    EXPECT_GE(last_count, 20) << extension;
  }
}

TEST_F(VideoReaderTest, SaysTruncatedWhenNoFrameIsWhole) {
  make_pattern("-c:v libx264 -pix_fmt yuv420p whole.mp4");  // its index is at the end
  make_pattern("-frames:v 1 whole.png");
  make_pattern("-frames:v 1 whole.jpg");
  for (const std::string extension : {".mp4", ".png", ".jpg"}) {
    for (const int percent : {10, 50, 95}) {
      truncate_to("whole" + extension, "part" + extension, percent);
      EXPECT_EQ(skip_code("part" + extension), "truncated")
          << extension << " at " << percent << " %";
    }
  }
}

TEST_F(VideoReaderTest, SurvivesFlippedBytes) {
  make_pattern("-c:v libx264 -pix_fmt yuv420p whole.mp4");
  const std::vector<std::uint8_t> whole = bytes_of("whole.mp4");
  for (std::uint32_t round = 0; round < 40; ++round) {
    std::vector<std::uint8_t> bytes = whole;
    std::uint32_t state = round * 2654435761u + 1;
    for (std::size_t flip = 0; flip < 1 + bytes.size() / 500; ++flip) {
      state = state * 1664525u + 1013904223u;
      bytes[(state >> 4) % bytes.size()] ^= static_cast<std::uint8_t>(1u << (state >> 29));
    }
    write_text("flipped.mp4", std::string(bytes.begin(), bytes.end()));
    const auto result = reader_.read({.path = file("flipped.mp4")});
    if (skipped(result)) {
      EXPECT_FALSE(std::get<SkipReason>(result).code.empty());
    } else {
      EXPECT_GT(std::get<Frames>(result).num_frames, 0);
    }
  }
  EXPECT_EQ(read_whole("whole.mp4").num_frames, 25);
}

TEST_F(VideoReaderTest, ReusesItsDecoderAndEndsItAtTheEnd) {
  make_good();
  const std::set<pid_t> before = children();
  {
    VideoReader reader;
    ASSERT_FALSE(skipped(reader.probe(file("good.mp4"))));
    const std::set<pid_t> during = children();
    EXPECT_EQ(during.size(), before.size() + 1);
    ASSERT_FALSE(skipped(reader.read({.path = file("good.mp4")})));
    EXPECT_EQ(children(), during);
  }
  EXPECT_EQ(children(), before);
}

TEST_F(VideoReaderTest, NextRequestWorksAfterTheDecoderWasKilledBetweenRequests) {
  make_good();
  signal_one(child_of(reader_), SIGKILL);
  EXPECT_EQ(read_whole("good.mp4").num_frames, 5);
}

TEST_F(VideoReaderTest, StoppedDecoderTimesOutAndIsReplaced) {
  make_good();
  VideoReader reader({.wall_s = 2});
  const pid_t child = child_of(reader);
  signal_one(child, SIGSTOP);
  const auto result = reader.read({.path = file("good.mp4")});
  ASSERT_TRUE(skipped(result));
  EXPECT_EQ(std::get<SkipReason>(result).code, "timed_out");
  EXPECT_EQ(children().count(child), 0u);
  EXPECT_FALSE(skipped(reader.read({.path = file("good.mp4")})));
}

TEST_F(VideoReaderTest, DecoderDyingInTheMiddleIsACrashOfThisClipOnly) {
  ffmpeg(
      "-f lavfi -i testsrc2=size=640x480:rate=25:duration=20 -c:v libx264 -preset ultrafast "
      "long.mp4");
  make_good();
  const std::set<pid_t> others = children();
  std::atomic<bool> over = false;
  std::thread killer([&] {  // kills the decoder once it has worked for 0.2 s
    while (!over) {
      for (const pid_t pid : children()) {
        if (others.count(pid) == 0 && work_ticks(pid) >= sysconf(_SC_CLK_TCK) / 5)
          kill(pid, SIGKILL);
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  });
  const auto result = reader_.read({.path = file("long.mp4"), .max_pixels = 4096});
  over = true;
  killer.join();
  ASSERT_TRUE(skipped(result));
  EXPECT_EQ(std::get<SkipReason>(result).code, "decoder_crashed");
  EXPECT_NE(std::get<SkipReason>(result).detail.find("signal 9"), std::string::npos);
  EXPECT_EQ(read_whole("good.mp4").num_frames, 5);
}

TEST_F(VideoReaderTest, StopsAtTheOutputLimit) {
  make_pattern("-c:v libx264 -pix_fmt yuv420p clip.mp4");
  const std::int64_t frame_bytes = 160 * 120 * 3;
  VideoReader enough({.output_bytes = 25 * frame_bytes});
  EXPECT_FALSE(skipped(enough.read({.path = file("clip.mp4")})));
  VideoReader short_by_one({.output_bytes = 25 * frame_bytes - 1});
  const auto result = short_by_one.read({.path = file("clip.mp4")});
  ASSERT_TRUE(skipped(result));
  EXPECT_EQ(std::get<SkipReason>(result).code, "too_large");
  // The same child still answers.
  EXPECT_FALSE(skipped(short_by_one.read({.path = file("clip.mp4"), .max_frames = 3})));
}

TEST_F(VideoReaderTest, MemoryLimitEndsAsAReason) {
  ffmpeg(
      "-f lavfi -i color=red:size=8192x8192:rate=1:duration=2 -c:v ffv1 -pix_fmt yuv444p huge.mkv");
  VideoReader reader({.memory_bytes = std::int64_t{400} << 20});
  const auto result = reader.read({.path = file("huge.mkv")});
  ASSERT_TRUE(skipped(result));
  const std::string code = std::get<SkipReason>(result).code;
  EXPECT_TRUE(code == "out_of_memory" || code == "decoder_crashed" || code == "codec_unsupported" ||
              code == "truncated")
      << code;
  make_good();
  EXPECT_FALSE(skipped(reader.read({.path = file("good.mp4")})));
}

TEST_F(VideoReaderTest, TakesNamesThatFfmpegWouldReadOtherwise) {
  for (const char* name :
       {"a:b.mp4", "frame%03d.mp4", "caf\xe9 'x'.mp4", "-i.mp4", "new\nline.mp4"}) {
    write_mp4(file(name), make_patches(2, 16, 16), {});
    EXPECT_EQ(read_whole(name).num_frames, 2) << name;
  }
}

TEST_F(VideoReaderTest, RefusesRequestsWithoutSense) {
  make_good();
  EXPECT_THROW(reader_.read({.path = file("good.mp4"), .start_s = 2, .end_s = 1}), Error);
  EXPECT_THROW(reader_.read({.path = file("good.mp4"), .fps = -1}), Error);
  EXPECT_THROW(reader_.read({.path = file("good.mp4"), .size_multiple = 0}), Error);
}

TEST_F(VideoReaderTest, ProbeTellsTheShownSize) {
  make_pattern("-vf setsar=4/3 -c:v libx264 -pix_fmt yuv420p wide.mp4");
  const auto result = reader_.probe(file("wide.mp4"));
  ASSERT_FALSE(skipped(result));
  const VideoInfo& info = std::get<VideoInfo>(result);
  EXPECT_EQ(info.codec, "h264");
  EXPECT_EQ(info.pixel_format, "yuv420p");
  EXPECT_EQ(info.coded_width, 160);
  EXPECT_EQ(info.width, 213);
  EXPECT_EQ(info.height, 120);
  EXPECT_EQ(info.num_frames, 25);
  EXPECT_DOUBLE_EQ(info.fps, 25);
  EXPECT_NEAR(info.duration_s, 1, 1e-6);
  EXPECT_FALSE(info.is_image);
}

}  // namespace
}  // namespace zoetrope::data
