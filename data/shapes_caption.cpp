// What MovingShapes scenes are called: captions, and the lines of truth.jsonl.
#include <algorithm>

#include "base/error.h"
#include "data/shapes.h"
#include "data/shapes_rules.h"

namespace zoetrope::data {
namespace {

std::string with_article(const std::string& words) {
  const bool vowel = std::string("aeiou").find(words.front()) != std::string::npos;
  return (vowel ? "an " : "a ") + words;
}

std::string joined_by_and(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : " and ") + part;
  return text;
}

// "" where nothing shows a camera.
std::string camera_words(const ShapesScene& scene) {
  if (!scene.textured || scene.frames == 1) return "";
  if (scene.camera == "static") return " while the camera stands still";
  const std::size_t cut = scene.camera.find('_');
  return " while the camera " + scene.camera.substr(0, cut) + "s " + scene.camera.substr(cut + 1);
}

std::string size_word(const ShapesScene& scene, const Sprite& sprite) {
  const SizeRange sizes = size_range(scene.height, scene.width);
  return 2 * sprite.size_px <= sizes.small_until + sizes.large_from ? "small" : "large";
}

std::string speed_word(const ShapesScene& scene, const Sprite& sprite) {
  const double side = step_of(sprite.direction).first != 0 ? scene.width : scene.height;
  return sprite.speed_px < side * (kSlowBelow + kFastAbove) / 2 ? "slowly" : "fast";
}

std::string dense_sprite(const ShapesScene& scene, const Sprite& sprite) {
  const std::string what =
      "a " + size_word(scene, sprite) + " " + sprite.colour + " " + sprite.shape;
  const std::string where = "the " + sprite.start + " of a " + scene.background + " background";
  if (scene.frames == 1) return what + " at " + where;
  if (sprite.direction == "still") return what + " stays still at " + where;
  return what + " starts at " + where + " and moves " + sprite.direction + " " +
         speed_word(scene, sprite);
}

// A field of a truth line, with its name in the error when it is missing or of another type.
template <class T>
T field(const Json& json, const char* name) {
  ZOETROPE_CHECK_DATA(json.is_object() && json.contains(name), "MovingShapes scene has no field \"",
                      name, "\"");
  try {
    return json.at(name).get<T>();
  } catch (const nlohmann::json::exception& error) {
    throw DataError(concat("MovingShapes scene, field \"", name, "\": ", error.what()));
  }
}

Sprite sprite_from_json(const Json& json) {
  Sprite sprite;
  sprite.shape = field<std::string>(json, "shape");
  sprite.colour = field<std::string>(json, "colour");
  sprite.direction = field<std::string>(json, "direction");
  sprite.start = field<std::string>(json, "start");
  sprite.size_px = field<int>(json, "size_px");
  sprite.speed_px = field<double>(json, "speed_px");
  sprite.x0 = field<double>(json, "x0");
  sprite.y0 = field<double>(json, "y0");
  find_name(kShapeNames, sprite.shape, "shape");
  find_name(kColourNames, sprite.colour, "colour");
  find_name(kDirectionNames, sprite.direction, "direction");
  ZOETROPE_CHECK_DATA(sprite.size_px >= 1, "MovingShapes sprite size ", sprite.size_px, " px");
  return sprite;
}

}  // namespace

std::string short_caption(const ShapesScene& scene) {
  std::vector<std::string> parts;
  for (const Sprite& sprite : scene.sprites) {
    std::string part = with_article(sprite.colour + " " + sprite.shape);
    if (scene.frames > 1)
      part += sprite.direction == "still" ? " stays still" : " moves " + sprite.direction;
    parts.push_back(part);
  }
  return joined_by_and(parts) + camera_words(scene);
}

std::string dense_caption(const ShapesScene& scene) {
  std::vector<std::string> parts;
  for (const Sprite& sprite : scene.sprites) parts.push_back(dense_sprite(scene, sprite));
  return joined_by_and(parts) + camera_words(scene);
}

Json scene_to_json(const ShapesScene& scene, const std::string& video) {
  Json sprites = Json::array();
  for (const Sprite& sprite : scene.sprites) {
    sprites.push_back({{"shape", sprite.shape},
                       {"colour", sprite.colour},
                       {"size_px", sprite.size_px},
                       {"start", sprite.start},
                       {"direction", sprite.direction},
                       {"speed_px", sprite.speed_px},
                       {"x0", sprite.x0},
                       {"y0", sprite.y0}});
  }
  Json line{{"video", video},
            {"frames", scene.frames},
            {"height", scene.height},
            {"width", scene.width},
            {"background", scene.background},
            {"camera", scene.camera},
            {"cut", scene.cut},
            {"sprites", sprites}};
  if (scene.textured) line["camera_speed"] = scene.camera_speed;
  return line;
}

ShapesScene scene_from_json(const Json& json) {
  ShapesScene scene;
  scene.frames = field<int>(json, "frames");
  scene.height = field<int>(json, "height");
  scene.width = field<int>(json, "width");
  scene.background = field<std::string>(json, "background");
  scene.camera = field<std::string>(json, "camera");
  scene.cut = field<bool>(json, "cut");
  find_name(kBackgroundNames, scene.background, "background");
  find_name(kShapesCameras, scene.camera, "camera");
  scene.textured = json.contains("camera_speed");
  if (scene.textured) scene.camera_speed = field<double>(json, "camera_speed");
  ZOETROPE_CHECK_DATA(scene.textured || scene.camera == "static", "MovingShapes scene, camera \"",
                      scene.camera, "\" without \"camera_speed\"");
  ZOETROPE_CHECK_DATA(!scene.cut, "MovingShapes draws no cuts");
  ZOETROPE_CHECK_DATA(scene.frames >= 1 && scene.height >= 1 && scene.width >= 1,
                      "MovingShapes scene of ", scene.frames, " frames of ", scene.height, "x",
                      scene.width);
  for (const Json& sprite : field<Json>(json, "sprites"))
    scene.sprites.push_back(sprite_from_json(sprite));
  return scene;
}

}  // namespace zoetrope::data
