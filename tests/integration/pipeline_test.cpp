// The whole way on real files: clips -> latents -> training -> checkpoint -> mp4, with trouble on
// the way.
#include <array>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/random.h"
#include "data/video_reader.h"
#include "tests/integration/program.h"

namespace zoetrope {
namespace {
namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

// A few-seconds DiT on the shipped VAE's latents.
constexpr const char* kSmallDit =
    "--config dit_tiny.yaml --set dit.global_batch=4 --set dit.model.num_layers=1 "
    "--set dit.model.num_attention_heads=2 --set dit.model.attention_head_dim=16 --set "
    "dit.model.ffn_dim=64 "
    "--set precision=fp32 --set optimizer.warmup_steps=2 --set log_every_steps=1 ";

Json last_json_line(const std::string& text) {
  const auto end = text.find_last_not_of('\n');
  const auto start = text.rfind('\n', end);
  return parse_json(text.substr(start == std::string::npos ? 0 : start + 1), "the last line");
}

class Pipeline : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::string name = (fs::temp_directory_path() / "zoetrope_pipeline_XXXXXX").string();
    folder_ = mkdtemp(name.data());
    setenv("OMP_NUM_THREADS", "1", 1);  // corpora are byte-equal for equal threads a rank
    const auto shapes = run_program("make_shapes --count 12 --vary --output " + at("shapes"));
    ASSERT_EQ(shapes.exit_code, 0) << shapes.err;
    std::ofstream(at("shapes/broken.mp4")) << "this is not a video";
    fs::copy(at("shapes/000003.mp4"), at("shapes/again.mp4"));
    const auto encoded = run_program("mpirun -np 2 encode_dataset --input " + at("shapes") +
                                     " --output " + at("corpus") + " --max-rejected-share 0.1");
    ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
    counts_ = last_json_line(encoded.out);
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  static std::string at(const std::string& name) { return (fs::path(folder_) / name).string(); }
  static std::string train(const std::string& run, const std::string& more) {
    return concat("train ", kSmallDit, "--set dit.corpus=", at("corpus"),
                  " --set run.dir=", at(run), " ", more);
  }

  static inline std::string folder_;
  static inline Json counts_;
};

TEST_F(Pipeline, EncodesEveryClipAndExplainsTheBrokenOne) {
  EXPECT_EQ(counts_["sources"], 14);
  EXPECT_EQ(counts_["clips"], 12);
  EXPECT_EQ(counts_["copies"], 1);
  EXPECT_EQ(counts_["rejected"], 1);
  const std::string rejects = read_file(at("corpus/rejects.jsonl"));
  EXPECT_NE(rejects.find("broken.mp4"), std::string::npos);
  EXPECT_NE(rejects.find("not_a_video"), std::string::npos);
}

TEST_F(Pipeline, SecondEncodingDoesNothingNewAndKeepsTheManifest) {
  const std::string before = read_file(at("corpus/manifest.jsonl"));
  const auto again = run_program("encode_dataset --input " + at("shapes") + " --output " +
                                 at("corpus") + " --max-rejected-share 0.1");
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(read_file(at("corpus/manifest.jsonl")), before);
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (!entry.is_regular_file() || name == ".lock" || name == "next.txt") continue;
    files[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return files;
}

TEST_F(Pipeline, RanksAndKillsLeaveNoTraceInACorpus) {
  // Some 400 kB: four parts or so, so that there is work to share.
  const std::string job = "encode_dataset --input " + at("shapes") + " --max-rejected-share 0.1";
  ASSERT_EQ(run_program(job + " --output " + at("one")).exit_code, 0);
  for (const char* kill_after : {"0.9", "1.6", "2.4"}) {
    run_program(
        concat("timeout -s KILL ", kill_after, " mpirun -np 2 ", job, " --output ", at("many")));
  }
  const auto four = run_program("mpirun -np 4 " + job + " --output " + at("many"));
  ASSERT_EQ(four.exit_code, 0) << four.err;
  EXPECT_TRUE(files_of(at("many")) == files_of(at("one")));
}

#ifdef __SANITIZE_ADDRESS__
constexpr bool kCanPreload = false;  // the sanitizer's own library has to come first
#else
constexpr bool kCanPreload = true;
#endif

// LD_PRELOAD with what it is to break.
std::string failing(const std::string& call, const std::string& path) {
  return concat("FAIL_CALL=", call, " FAIL_PATH=", path, " LD_PRELOAD=" ZOETROPE_PROGRAM_FOLDER,
                "/libfailing_disk.so ");
}

TEST_F(Pipeline, ADiskThatFillsUpOrFailsEndsTheEncodingAndTheNextRunGoesOn) {
  if (!kCanPreload) GTEST_SKIP() << "a sanitizer must be the first library loaded";
  const std::string job = "encode_dataset --input " + at("shapes") +
                          " --max-rejected-share 0.1 --output " + at("on_bad_disk");
  for (const auto& [call, path, reason] :
       {std::array{"write", "/latents/", "No space left"}, std::array{"fsync", "/text/", "error"},
        std::array{"write", "/records/p", "No space left"},
        std::array{"write", "/manifest.jsonl", "No space left"},
        std::array{"fsync", "/index.bin", "error"}}) {
    const auto failed = run_program(failing(call, path) + job);
    EXPECT_EQ(failed.exit_code, 1) << call << " " << path << failed.err;
    EXPECT_NE(failed.err.find(reason), std::string::npos) << failed.err;
    EXPECT_NE(failed.err.find("on_bad_disk"), std::string::npos) << failed.err;
    EXPECT_EQ(failed.err.find("buf = "), std::string::npos) << failed.err;
  }
  const auto whole = run_program(job);
  ASSERT_EQ(whole.exit_code, 0) << whole.err;
  EXPECT_TRUE(files_of(at("on_bad_disk")) == files_of(at("corpus")));
}

TEST_F(Pipeline, AShardThatCannotBeReadStopsTraining) {
  if (!kCanPreload) GTEST_SKIP() << "a sanitizer must be the first library loaded";
  const std::string bad_disk = failing("read", "/latents/p0000000");
  const auto stopped = run_program(bad_disk + train("bad_disk", "--set steps=4"));
  EXPECT_EQ(stopped.exit_code, 3) << stopped.err;
  EXPECT_NE(stopped.err.find("latents/p0000000.h5"), std::string::npos) << stopped.err;
  EXPECT_NE(stopped.err.find("Input/output error"), std::string::npos) << stopped.err;
  const std::string replacing =
      "--set steps=4 --set dit.bad_records=replace --set validation.every_steps=0";
  const auto passed_over = run_program(bad_disk + train("bad_disk_too", replacing));
  EXPECT_EQ(passed_over.exit_code, 0) << passed_over.err;
  EXPECT_NE(passed_over.err.find("another clip is trained on"), std::string::npos);
  // Where all shards fail, others are tried, and in the end there is none.
  const auto nothing_left =
      run_program(failing("read", "/latents/") + train("bad_disk_all", replacing));
  EXPECT_EQ(nothing_left.exit_code, 3) << nothing_left.err;
  EXPECT_NE(nothing_left.err.find("cannot be read, nor can"), std::string::npos)
      << nothing_left.err;
}

TEST_F(Pipeline, TakesLatentsOverFromAnotherCorpus) {
  const auto again =
      run_program("encode_dataset --input " + at("shapes") + " --max-rejected-share 0.1 --reuse " +
                  at("corpus") + " --output " + at("second"));
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(last_json_line(again.out)["taken_over"], 12);
  EXPECT_EQ(read_file(at("second/manifest.jsonl")), read_file(at("corpus/manifest.jsonl")));
}

TEST_F(Pipeline, TrainsTheSameOnClipsThatAreEncodedAsTheyAreNeeded) {
  const auto encoded = run_program("encode_dataset --online --input " + at("shapes") +
                                   " --max-rejected-share 0.1 --output " + at("online"));
  ASSERT_EQ(encoded.exit_code, 0) << encoded.err;
  const std::string more = "--set steps=2 ";
  ASSERT_EQ(run_program(train("from_stored", more)).exit_code, 0);
  const auto online = run_program(train("from_sources", more + "--set dit.corpus=" + at("online")));
  ASSERT_EQ(online.exit_code, 0) << online.err;
  const auto losses = [](const std::string& run) {
    std::vector<double> values;
    for_each_json_line(at(run + "/metrics.jsonl"), [&](const Json& line, int) {
      if (line.contains("loss")) values.push_back(line.at("loss"));
    });
    return values;
  };
  EXPECT_EQ(losses("from_sources"), losses("from_stored"));
  EXPECT_EQ(losses("from_stored").size(), 2u);
}

TEST_F(Pipeline, InspectMakesAPageWithPictures) {
  const auto shown =
      run_program("inspect " + at("corpus") + " --html " + at("page.html") + " --thumbnails 5");
  ASSERT_EQ(shown.exit_code, 0) << shown.err;
  const std::string page = read_file(at("page.html"));
  std::size_t pictures = 0;
  for (auto found = page.find("<img"); found != std::string::npos;
       found = page.find("<img", found + 1))
    ++pictures;
  EXPECT_EQ(pictures, 5u);
  EXPECT_EQ(run_program("inspect " + at("shapes/000000.mp4") + " --html x.html").exit_code, 2);
}

TEST_F(Pipeline, ShotsBecomeClipsAndLimitsAreCounted) {
  fs::create_directories(at("films"));
  const auto film = run_program(
      "cd " + at("films") +
      " && ffmpeg -v error -f lavfi -i mandelbrot=size=64x64:rate=16 -f lavfi -i "
      "testsrc2=size=64x64:rate=16 -f lavfi -i smptebars=size=64x64:rate=16 -filter_complex "
      "'[0]trim=duration=1.5[a];[1]trim=duration=1[b];[2]trim=duration=0.5[c];"
      "[a][b][c]concat=n=3' -pix_fmt yuv420p film.mp4");
  ASSERT_EQ(film.exit_code, 0) << film.err;
  const auto encode = [&](const std::string& corpus, const std::string& more) {
    const auto encoded = run_program("mpirun -np 2 encode_dataset --input " + at("films") +
                                     " --output " + at(corpus) + " " + more);
    EXPECT_EQ(encoded.exit_code, 0) << encoded.err;
    return last_json_line(encoded.out);
  };
  // Shots of 1.5, 1 and 0.5 s; the bars of the last one stand still.
  EXPECT_EQ(encode("whole", "--split-shots never")["clips"], 1);
  const Json shots = encode("shots", "");
  EXPECT_EQ(shots["sources"], 1);
  EXPECT_EQ(shots["clips"], 3);
  double end_s = 0;
  std::set<double> starts_s;
  for_each_json_line(at("shots/manifest.jsonl"), [&](const Json& line, int) {
    starts_s.insert(line.at("start_s").get<double>());
    end_s = std::max(end_s, line.at("end_s").get<double>());
    EXPECT_TRUE(line.at("scores").contains("motion"));
    EXPECT_FALSE(line.at("camera").get<std::string>().empty());
  });
  EXPECT_EQ(starts_s, (std::set<double>{0, 1.5, 2.5}));
  const std::string before = read_file(at("shots/manifest.jsonl"));
  EXPECT_EQ(encode("shots", "")["clips"], 3);
  EXPECT_EQ(read_file(at("shots/manifest.jsonl")), before);
  const Json limited = encode("limited", "--min-seconds 0.55 --max-seconds 0.8");
  EXPECT_EQ(limited["clips"],
            2);  // 1.5 s gives two of 9 frames; two of 5 frames of 1 s, and 0.5 s, are too short
  EXPECT_EQ(limited["rejected_by"], (Json{{"filtered_length", 3}}));
  const Json moving = encode("moving", "--filter 'frozen_share: [0, 0.5]'");
  EXPECT_EQ(moving["clips"], 2);
  EXPECT_EQ(moving["rejected_by"], (Json{{"filtered_frozen_share", 1}}));
  const auto trained = run_program(concat(
      "train ", kSmallDit, "--set dit.corpus=", at("shots"), " --set run.dir=", at("kept_moving"),
      " --set steps=1 --set 'dit.filter.frozen_share=[0, 0.5]'"));
  EXPECT_EQ(trained.exit_code, 0) << trained.err;
  EXPECT_NE((trained.out + trained.err).find("kept 2 of 3 clips; filtered_frozen_share 1"),
            std::string::npos)
      << trained.err;
  const auto nothing = run_program(concat("train ", kSmallDit, "--set dit.corpus=", at("shots"),
                                          " --set run.dir=", at("none"),
                                          " --set steps=1 --set 'dit.filter.frozen_share=[2, 3]'"));
  EXPECT_EQ(nothing.exit_code, 2);
  EXPECT_NE(nothing.err.find("leaves nothing"), std::string::npos) << nothing.err;
}

TEST_F(Pipeline, TooManyRejectsEndWithThree) {
  const auto strict = run_program("encode_dataset --input " + at("shapes") + " --output " +
                                  at("corpus") + " --max-rejected-share 0.01");
  EXPECT_EQ(strict.exit_code, 3);
  EXPECT_NE(strict.err.find("1 of 14"), std::string::npos) << strict.err;
}

TEST_F(Pipeline, TrainsSamplesAndWritesAVideoOfTheAskedSize) {
  const auto trained =
      run_program("mpirun -np 2 " + train("run", "--set steps=4 --set checkpoint.every_steps=2"));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  int lines = 0, validations = 0;
  for_each_json_line(at("run/metrics.jsonl"), [&](const Json& line, int) {
    if (line.contains("val_loss")) {
      EXPECT_EQ(line["step"], 4);
      EXPECT_EQ(line["val_loss_by_t"].size(), 8u);
      ++validations;
      return;
    }
    ++lines;
    for (const char* key : {"step", "loss", "grad_norm", "lr", "step_time_s", "data_wait_s",
                            "samples", "tokens", "tflops", "balance", "skipped"}) {
      EXPECT_TRUE(line.contains(key)) << key;
    }
    EXPECT_EQ(line["samples"], 4);
  });
  EXPECT_EQ(lines, 4);
  EXPECT_EQ(validations, 1);
  const auto sampled = run_program("sample --checkpoint " + at("run") +
                                   " --prompt 'a red circle' --steps 2 "
                                   "--frames 9 --height 48 --width 80 --output " +
                                   at("red.mp4"));
  ASSERT_EQ(sampled.exit_code, 0) << sampled.err;
  data::VideoReader reader;
  const auto frames = reader.read({at("red.mp4")});
  ASSERT_FALSE(data::skipped(frames)) << std::get<data::SkipReason>(frames).detail;
  EXPECT_EQ(std::get<data::Frames>(frames).num_frames, 9);
  EXPECT_EQ(std::get<data::Frames>(frames).height, 48);
  EXPECT_EQ(std::get<data::Frames>(frames).width, 80);
}

TEST_F(Pipeline, WeightsOfARunStartAnotherAndWantTheVaeTheyKnow) {
  const std::string one_step = "--set steps=1 --set optimizer.lr=1e-50 ";  // changes no weight
  const auto first = run_program(train("first", one_step));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const auto second =
      run_program(train("second", one_step + "--set seed=1 --set init_from=" + at("first")));
  ASSERT_EQ(second.exit_code, 0) << second.err;
  const std::string step = "/checkpoints/step_00000001/";
  const std::string weights = "/diffusion_pytorch_model.safetensors";
  EXPECT_TRUE(read_file(at("second" + step + "model" + weights)) ==
              read_file(at("first" + step + "ema" + weights)));

  const std::string state = at("first" + step + "state.json"), other(32, 'f');
  std::string text = read_file(state);
  const std::string hash = parse_json(text, state).at("context").at("vae").at("hash");
  ASSERT_EQ(hash.size(), other.size());
  write_file_atomically(state, text.replace(text.find(hash), hash.size(), other));
  const std::string sample = "sample --checkpoint " + at("first") +
                             " --prompt 'a red circle' --steps 1 --frames 1 --height 16 --width 16 "
                             "--output " +
                             at("dot.png");
  const auto refused = run_program(sample);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.err, AllOf(HasSubstr(other), HasSubstr(hash), HasSubstr("--vae")));
  const auto named = run_program(sample + " --vae vae_small");
  EXPECT_EQ(named.exit_code, 0) << named.err;
  EXPECT_THAT(named.err, HasSubstr(other));
}

data::Frames read_frames(const std::string& path) {
  data::VideoReader reader;
  const auto read = reader.read({path});
  EXPECT_FALSE(data::skipped(read)) << path;
  return data::skipped(read) ? data::Frames{} : std::get<data::Frames>(read);
}

// Mean squared difference of two frames, as PSNR in dB.
double psnr(const data::Frames& a, int i, const data::Frames& b, int k) {
  double sum = 0;
  const std::size_t bytes = a.frame_bytes();
  for (std::size_t n = 0; n < bytes; ++n) {
    sum += std::pow(double{1} * a.rgb[bytes * static_cast<std::size_t>(i) + n] -
                        b.rgb[bytes * static_cast<std::size_t>(k) + n],
                    2);
  }
  return 10 * std::log10(255.0 * 255 / (sum / static_cast<double>(bytes) + 1e-9));
}

TEST_F(Pipeline, KeptFramesComeBackAndLoopsClose) {
  const auto made =
      run_program("make_shapes --count 1 --frames 5 --height 32 --width 48 --output " + at("kept"));
  ASSERT_EQ(made.exit_code, 0) << made.err;
  std::string clip;
  for (const auto& entry : fs::directory_iterator(at("kept"))) {
    if (entry.path().extension() == ".mp4") clip = entry.path().string();
  }
  const auto trained =
      run_program(train("masked", "--set steps=2 --set dit.conditions.prefix=0.5"));
  ASSERT_EQ(trained.exit_code, 0) << trained.err;
  const std::string sample = "sample --checkpoint " + at("masked") +
                             " --prompt 'a red circle' --steps 2 --height 32 " +
                             "--width 48 --frames 17 --output ";
  const auto joined =
      run_program(sample + at("joined.mp4") + " --keep " + clip + "@0 --keep " + clip + "@end");
  ASSERT_EQ(joined.exit_code, 0) << joined.err;
  EXPECT_EQ(joined.err.find("without condition masks"), std::string::npos) << joined.err;
  const data::Frames given = read_frames(clip), made_of = read_frames(at("joined.mp4"));
  ASSERT_EQ(made_of.num_frames, 17);
  // The VAE keeps over 30 dB of these clips; a sample of this model has nothing in common with it.
  for (int i = 0; i < 5; ++i) {
    EXPECT_GT(psnr(given, i, made_of, i), 25) << i;
    EXPECT_GT(psnr(given, i, made_of, 12 + i), 25) << i;
  }
  EXPECT_LT(psnr(given, 4, made_of, 7), 20);

  const auto looped = run_program(sample + at("looped.mp4") + " --loop");
  ASSERT_EQ(looped.exit_code, 0) << looped.err;
  const data::Frames loop = read_frames(at("looped.mp4"));
  double change = 0;
  for (int i = 0; i + 1 < loop.num_frames; ++i) change += psnr(loop, i, loop, i + 1) / 16;
  EXPECT_GT(psnr(loop, 16, loop, 0), change);  // nearer to the first than frames are to their next

  const auto refused = run_program(sample + at("no.mp4") + " --keep " + clip + "@15");
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("5 frames at frame 15 does not fit into 17"), std::string::npos)
      << refused.err;
}

TEST_F(Pipeline, KilledTrainingResumesBitEqual) {
  const std::string settings =
      "--set steps=60 --set checkpoint.every_steps=5 --set checkpoint.keep_last=0";
  const auto unbroken = run_program("mpirun -np 2 " + train("unbroken", settings));
  ASSERT_EQ(unbroken.exit_code, 0) << unbroken.err;
  // Kills one rank, with SIGKILL, once there is a checkpoint.
  const auto killed =
      run_program("mpirun -np 2 " + train("killed", settings) + " & job=$!; while [ ! -d " +
                  at("killed/checkpoints/step_00000005") + " ]; do sleep 0.02; done; " +
                  "pkill -9 -n -f -- 'run.dir=" + at("killed") + "'; wait $job");
  EXPECT_NE(killed.exit_code, 0);
  const auto resumed = run_program("mpirun -np 2 " + train("killed", settings));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_NE(resumed.err.find("resuming from"), std::string::npos) << resumed.err;
  for (const char* file : {"model/diffusion_pytorch_model.safetensors",
                           "ema/diffusion_pytorch_model.safetensors", "optimizer.safetensors"}) {
    const std::string name = std::string("/checkpoints/step_00000060/") + file;
    EXPECT_EQ(hash_file(at("unbroken" + name)), hash_file(at("killed" + name))) << file;
  }
}

TEST_F(Pipeline, RankThatThrowsEndsAllRanksAndIsNamed) {
  // Only the second rank is told of a corpus that is not there.
  const auto start = std::chrono::steady_clock::now();
  const auto failed =
      run_program("mpirun -np 1 " + train("mixed", "--set steps=1000") + " : -np 1 " +
                  train("mixed", "--set steps=1000 --set dit.corpus=/nowhere"));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  EXPECT_EQ(failed.exit_code, 2);
  EXPECT_NE(failed.err.find("rank 1 of 2"), std::string::npos) << failed.err;
  EXPECT_LT(seconds, 15);  // nobody waits for the rank that left
}

TEST_F(Pipeline, ConfigTypoEndsWithTwoAndWritesNothing) {
  const auto failed = run_program(train("typo", "--set optimizer.learning_rate=1"));
  EXPECT_EQ(failed.exit_code, 2);
  EXPECT_NE(failed.err.find("learning_rate"), std::string::npos) << failed.err;
  EXPECT_FALSE(fs::exists(at("typo")));
  const auto mistyped = run_program(train("typo", "--set steps=many"));
  EXPECT_EQ(mistyped.exit_code, 2);
  EXPECT_FALSE(fs::exists(at("typo")));
}

TEST_F(Pipeline, ShippedConfigsParseAndPrintWhatTheyMean) {
  for (const auto& entry : fs::directory_iterator(shipped_folder("configs"))) {
    if (entry.path().extension() != ".yaml") continue;
    const auto printed = run_program("train --print-config --config " + entry.path().string());
    EXPECT_EQ(printed.exit_code, 0) << entry.path() << ": " << printed.err;
    std::ofstream(at("printed.yaml")) << printed.out;
    const auto again = run_program("train --print-config --config " + at("printed.yaml"));
    EXPECT_EQ(again.out, printed.out) << entry.path();
  }
}

}  // namespace
}  // namespace zoetrope
