// What MovingShapes promises: pure scenes, balanced attributes, sprites in frame, true captions.

#include "data/shapes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"

namespace zoetrope::data {
namespace {

const Sprite& only(const ShapesScene& scene) {
  return scene.sprites.front();
}

// Pixels of frame t that are not exactly ground: first and last row and column.
struct Box {
  int top = 1 << 20, left = 1 << 20, bottom = -1, right = -1;
};
Box box_of(const Frames& frames, int t, const std::string& background) {
  const RgbColour ground = background_rgb(background);
  Box box;
  for (int y = 0; y < frames.height; ++y) {
    for (int x = 0; x < frames.width; ++x) {
      const std::uint8_t* rgb = frames.frame(t) + 3 * (y * frames.width + x);
      if (rgb[0] == ground.red && rgb[1] == ground.green && rgb[2] == ground.blue) continue;
      box = {std::min(box.top, y), std::min(box.left, x), std::max(box.bottom, y),
             std::max(box.right, x)};
    }
  }
  return box;
}

TEST(Shapes, SceneIsAPureFunctionOfSeedSplitAndIndex) {
  ShapesOptions vary;
  vary.vary = true;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(scene_to_json(make_scene(7, "train", i, vary), "v"),
              scene_to_json(make_scene(7, "train", i, vary), "v"));
    EXPECT_EQ(draw_scene(make_scene(7, "train", i, {})).rgb,
              draw_scene(make_scene(7, "train", i, {})).rgb);
  }
}

TEST(Shapes, SplitsSeedsAndIndicesShareNoScene) {
  std::set<std::string> scenes;
  for (const char* split : {"train", "test"}) {
    for (const std::uint64_t seed : {0, 1}) {
      for (int i = 0; i < 1000; ++i) {
        scenes.insert(scene_to_json(make_scene(seed, split, i, {}), "v").dump());
      }
    }
  }
  EXPECT_EQ(scenes.size(), 4000u);
}

TEST(Shapes, EveryRunOf90HoldsEachCombinationOnce) {
  for (const char* split : {"train", "test"}) {
    for (int run = 0; run < 4; ++run) {
      std::set<std::string> seen;
      for (int i = 0; i < 90; ++i) {
        seen.insert(short_caption(make_scene(3, split, run * 90 + i, {})));
      }
      EXPECT_EQ(seen.size(), 90u) << split << " run " << run;
    }
  }
}

TEST(Shapes, EveryRunOf270HoldsEachCombinationOnEachBackground) {
  std::set<std::string> seen;
  std::map<std::string, int> first_run;
  for (int i = 0; i < 270; ++i) {
    const ShapesScene scene = make_scene(3, "train", i, {});
    seen.insert(short_caption(scene) + scene.background);
    if (i < 90) ++first_run[scene.background];
  }
  EXPECT_EQ(seen.size(), 270u);
  for (const std::string& name : kBackgroundNames) EXPECT_EQ(first_run[name], 30) << name;
}

TEST(Shapes, OrderIsShuffled) {
  std::map<std::string, int> shapes, colours, directions, backgrounds;
  for (int i = 0; i < 30; ++i) {
    const ShapesScene scene = make_scene(0, "train", i, {});
    ++shapes[only(scene).shape];
    ++colours[only(scene).colour];
    ++directions[only(scene).direction];
    ++backgrounds[scene.background];
  }
  EXPECT_EQ(shapes.size(), 3u);
  EXPECT_EQ(colours.size(), 6u);
  EXPECT_EQ(directions.size(), 5u);
  EXPECT_EQ(backgrounds.size(), 3u);
  for (const auto& [name, count] : backgrounds) EXPECT_LE(count, 18) << name;
}

TEST(Shapes, SizeAndSpeedWordsAreBothCommon) {
  std::map<std::string, int> words;
  int moving = 0;
  for (int i = 0; i < 900; ++i) {
    const std::string caption = dense_caption(make_scene(1, "train", i, {}));
    for (const char* word : {"small", "large", "slowly", "fast"}) {
      words[word] += caption.find(word) != std::string::npos;
    }
    moving += caption.find("moves") != std::string::npos;
  }
  EXPECT_EQ(moving, 720);
  EXPECT_EQ(words["small"] + words["large"], 900);
  EXPECT_EQ(words["slowly"] + words["fast"], 720);
  EXPECT_NEAR(words["small"], 450, 75);  // 5 sd
  EXPECT_NEAR(words["slowly"], 360, 67);
}

TEST(Shapes, SpriteStaysWhollyInFrame) {
  ShapesOptions vary;
  vary.vary = true;
  for (const ShapesOptions& options : {ShapesOptions{}, vary, ShapesOptions{33, 32, 128, false}}) {
    for (int i = 0; i < 300; ++i) {
      const ShapesScene scene = make_scene(11, "train", i, options);
      const Frames frames = draw_scene(scene);
      ASSERT_EQ(frames.rgb.size(), frames.frame_bytes() * scene.frames);
      for (int t = 0; t < scene.frames; ++t) {
        const Box box = box_of(frames, t, scene.background);
        ASSERT_GE(box.top, 1) << i << " frame " << t;
        ASSERT_GE(box.left, 1) << i << " frame " << t;
        ASSERT_LE(box.bottom, scene.height - 2) << i << " frame " << t;
        ASSERT_LE(box.right, scene.width - 2) << i << " frame " << t;
        ASSERT_GE(box.bottom - box.top + 2, only(scene).size_px) << i << " frame " << t;
      }
    }
  }
}

TEST(Shapes, MovesAtLeastASixthOfTheCanvasTheWayItSays) {
  ShapesOptions vary;
  vary.vary = true;
  for (int i = 0; i < 400; ++i) {
    const ShapesScene scene = make_scene(2, "test", i, vary);
    const Frames frames = draw_scene(scene);
    const Box first = box_of(frames, 0, scene.background);
    const Box last = box_of(frames, scene.frames - 1, scene.background);
    const int dx = last.left - first.left, dy = last.top - first.top;
    const std::string& way = only(scene).direction;
    const int along = way == "left" ? -dx : way == "right" ? dx : way == "up" ? -dy : dy;
    const int side = way == "left" || way == "right" ? scene.width : scene.height;
    if (way == "still") {
      EXPECT_EQ(dx, 0);
      EXPECT_EQ(dy, 0);
    } else {
      EXPECT_GE(along + 1, side / 6.0) << i;
      EXPECT_EQ(way == "left" || way == "right" ? dy : dx, 0) << i;
    }
  }
}

TEST(Shapes, CaptionsNameTheAttributes) {
  for (int i = 0; i < 180; ++i) {
    const ShapesScene scene = make_scene(5, "train", i, {});
    const std::string brief = short_caption(scene), dense = dense_caption(scene);
    for (const std::string& word : {only(scene).shape, only(scene).colour, only(scene).direction}) {
      EXPECT_NE(brief.find(word), std::string::npos) << brief;
      EXPECT_NE(dense.find(word), std::string::npos) << dense;
    }
    EXPECT_NE(dense.find(scene.background), std::string::npos) << dense;
    EXPECT_NE(dense.find("the " + only(scene).start + " of"), std::string::npos) << dense;
  }
}

TEST(Shapes, CaptionsReadAsDocumented) {
  ShapesScene scene;
  scene.background = "grey";
  scene.sprites = {{"circle", "red", "left", "top right", 16, 0.8, 50, 12}};
  EXPECT_EQ(short_caption(scene), "a red circle moves left");
  EXPECT_EQ(
      dense_caption(scene),
      "a small red circle starts at the top right of a grey background and moves left slowly");
  scene.sprites = {{"square", "orange", "still", "centre", 28, 0, 32, 32}};
  EXPECT_EQ(short_caption(scene), "an orange square stays still");
  EXPECT_EQ(dense_caption(scene),
            "a large orange square stays still at the centre of a grey background");
  scene.frames = 1;
  EXPECT_EQ(short_caption(scene), "an orange square");
  EXPECT_EQ(dense_caption(scene), "a large orange square at the centre of a grey background");
}

TEST(Shapes, VaryMixesLengthsAndCanvasesAndKeepsImagesStill) {
  ShapesOptions vary;
  vary.vary = true;
  std::set<int> lengths;
  std::set<std::pair<int, int>> canvases;
  for (int i = 0; i < 300; ++i) {
    const ShapesScene scene = make_scene(0, "train", i, vary);
    lengths.insert(scene.frames);
    canvases.insert({scene.height, scene.width});
    EXPECT_EQ(scene.height % 16 + scene.width % 16, 0);
    if (scene.frames == 1) {
      EXPECT_EQ(only(scene).direction, "still");
    }
  }
  EXPECT_EQ(lengths, (std::set<int>{1, 5, 9, 13, 17}));
  EXPECT_EQ(canvases.size(), 6u);
}

TEST(Shapes, CoverageHasTheAreaOfTheShape) {
  const auto area = [](const std::string& shape) {
    const auto coverage = shape_coverage(shape, 31.3, 30.8, 20, 64, 64);
    return std::accumulate(coverage.begin(), coverage.end(), 0.0);
  };
  EXPECT_NEAR(area("circle"), M_PI * 100, 0.5);
  EXPECT_NEAR(area("square"), 400, 2.5);  // 16 lines a pixel: at most 1/16 of an edge
  EXPECT_NEAR(area("triangle"), 200, 1);
}

TEST(Shapes, TruthRebuildsTheClip) {
  for (int i = 0; i < 20; ++i) {
    const ShapesScene scene = make_scene(9, "test", i, {});
    const Json line = Json::parse(scene_to_json(scene, "000000.mp4").dump());
    EXPECT_EQ(draw_scene(scene_from_json(line)).rgb, draw_scene(scene).rgb);
  }
}

TEST(Shapes, RefusesWhatItCannotDraw) {
  EXPECT_THROW(make_scene(0, "validation", 0, {}), ConfigError);
  EXPECT_THROW(make_scene(0, "train", -1, {}), ConfigError);
  EXPECT_THROW(make_scene(0, "train", 0, {0, 64, 64, false}), ConfigError);
  EXPECT_THROW(make_scene(0, "train", 0, {17, 64, 16, false}), ConfigError);
  Json line = scene_to_json(make_scene(0, "train", 0, {}), "v");
  line["sprites"][0]["colour"] = "mauve";
  EXPECT_THROW(scene_from_json(line), DataError);
  line["sprites"][0].erase("colour");
  EXPECT_THROW(scene_from_json(line), DataError);
  line = scene_to_json(make_scene(0, "train", 0, {}), "v");
  line["frames"] = "many";
  EXPECT_THROW(scene_from_json(line), DataError);
}

}  // namespace
}  // namespace zoetrope::data
