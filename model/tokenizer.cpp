// Opens a tokenizer by the kind of model its file names.
#include "model/tokenizer.h"

#include "base/error.h"
#include "base/json.h"
#include "model/wordpiece.h"

namespace zoetrope::model {

std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path) {
  const auto file = std::filesystem::is_directory(path) ? path / "tokenizer.json" : path;
  const Json json = read_json(file);
  const bool has_model = json.is_object() && json.contains("model") && json["model"].is_object();
  ZOETROPE_CHECK_CONFIG(has_model, file.string(), ": a tokenizer.json needs an object \"model\"");
  const auto type = json["model"].find("type");
  const std::string kind =
      type != json["model"].end() && type->is_string() ? type->get<std::string>() : "";
  ZOETROPE_CHECK_CONFIG(kind == "WordPiece", file.string(), ": a tokenizer model of type \"", kind,
                        "\" is not supported, only WordPiece");
  return std::make_unique<WordPieceTokenizer>(read_wordpiece_file(json, file));
}

}  // namespace zoetrope::model
