// tokenizer.json -> WordPieceFile. What is not understood is named, never skipped: a tokenizer that
// is nearly right gives ids that are silently wrong.
#include <algorithm>

#include "base/error.h"
#include "model/wordpiece.h"

namespace zoetrope::model {
namespace {

// One object of the file with its place in it, for messages.
class Section {
 public:
  Section(const Json& json, std::string place) : json_(json), place_(std::move(place)) {
    ZOETROPE_CHECK_CONFIG(json_.is_object(), place_, " is not an object");
  }

  bool is_null(const char* key) const { return !json_.contains(key) || json_[key].is_null(); }

  template <class T>
  T get(const char* key) const {
    ZOETROPE_CHECK_CONFIG(!is_null(key), place_, ".", key, " is missing");
    try {
      return json_[key].get<T>();
    } catch (const Json::exception& error) {
      throw ConfigError(concat(place_, ".", key, ": ", error.what()));
    }
  }
  template <class T>
  T get(const char* key, T otherwise) const {
    return is_null(key) ? otherwise : get<T>(key);
  }

  Section child(const char* key) const {
    ZOETROPE_CHECK_CONFIG(!is_null(key), place_, ".", key, " is missing");
    return Section(json_[key], place_ + "." + key);
  }
  std::vector<Section> elements(const char* key) const {
    std::vector<Section> sections;
    if (is_null(key)) return sections;
    ZOETROPE_CHECK_CONFIG(json_[key].is_array(), place_, ".", key, " is not an array");
    for (const Json& element : json_[key]) {
      sections.emplace_back(element, concat(place_, ".", key, "[", sections.size(), "]"));
    }
    return sections;
  }
  void check_type(const std::string& type) const {
    ZOETROPE_CHECK_CONFIG(get<std::string>("type") == type, place_, " of type \"",
                          get<std::string>("type"), "\" is not supported, only ", type);
  }
  const std::string& place() const { return place_; }

 private:
  const Json& json_;
  std::string place_;
};

void check_id(std::int64_t id, const std::string& place) {
  constexpr std::int64_t kMaxId = std::int64_t{1} << 31;
  ZOETROPE_CHECK_CONFIG(id >= 0 && id < kMaxId, place, ": token id ", id);
}

WordPieceFile::Normalizer read_normalizer(const Section& section) {
  section.check_type("BertNormalizer");
  WordPieceFile::Normalizer normalizer;
  normalizer.clean_text = section.get<bool>("clean_text");
  normalizer.handle_chinese_chars = section.get<bool>("handle_chinese_chars");
  normalizer.lowercase = section.get<bool>("lowercase");
  normalizer.strip_accents = section.get<bool>("strip_accents", normalizer.lowercase);
  return normalizer;
}

void read_model(const Section& section, WordPieceFile& file) {
  section.check_type("WordPiece");
  file.vocab = section.get<std::unordered_map<std::string, std::int64_t>>("vocab");
  for (const auto& [token, id] : file.vocab) check_id(id, section.place() + ".vocab." + token);
  file.unk_token = section.get<std::string>("unk_token", file.unk_token);
  file.continuing_subword_prefix =
      section.get<std::string>("continuing_subword_prefix", file.continuing_subword_prefix);
  file.max_input_chars_per_word =
      section.get<std::int64_t>("max_input_chars_per_word", file.max_input_chars_per_word);
  ZOETROPE_CHECK_CONFIG(file.vocab.contains(file.unk_token), section.place(), ".unk_token \"",
                        file.unk_token, "\" is not in the vocabulary");
}

AddedToken read_added_token(const Section& section, const WordPieceFile& file) {
  AddedToken token;
  token.id = section.get<std::int64_t>("id");
  token.content = section.get<std::string>("content");
  token.special = section.get<bool>("special", false);
  token.normalized = section.get<bool>("normalized", !token.special);
  token.single_word = section.get<bool>("single_word", false);
  token.lstrip = section.get<bool>("lstrip", false);
  token.rstrip = section.get<bool>("rstrip", false);
  check_id(token.id, section.place());
  ZOETROPE_CHECK_CONFIG(!token.content.empty(), section.place(), ".content is empty");
  const auto in_vocab = file.vocab.find(token.content);
  ZOETROPE_CHECK_CONFIG(in_vocab == file.vocab.end() || in_vocab->second == token.id,
                        section.place(), ": \"", token.content, "\" has id ", token.id, ", but ",
                        in_vocab->second, " in the vocabulary");
  return token;
}

void read_template(const Section& section, WordPieceFile& file) {
  const Section special = section.child("special_tokens");
  bool after_text = false;
  for (const Section& item : section.elements("single")) {
    if (!item.is_null("Sequence")) {
      ZOETROPE_CHECK_CONFIG(!after_text && item.child("Sequence").get<std::string>("id") == "A",
                            item.place(), ": a template for one text holds sequence A once");
      after_text = true;
      continue;
    }
    const auto name = item.child("SpecialToken").get<std::string>("id");
    for (auto id : special.child(name.c_str()).get<std::vector<std::int64_t>>("ids")) {
      check_id(id, item.place());
      (after_text ? file.ids_after : file.ids_before).push_back(id);
    }
  }
  ZOETROPE_CHECK_CONFIG(after_text, section.place(), ".single has no sequence A");
}

std::int64_t read_token_pair(const Section& section, const char* key) {
  const auto pair = section.get<Json>(key);
  ZOETROPE_CHECK_CONFIG(pair.is_array() && pair.size() == 2 && pair[1].is_number_integer(),
                        section.place(), ".", key, " is not [token, id]");
  check_id(pair[1].get<std::int64_t>(), section.place());
  return pair[1].get<std::int64_t>();
}

void read_post_processor(const Section& section, WordPieceFile& file) {
  if (section.get<std::string>("type") == "BertProcessing") {
    file.ids_before = {read_token_pair(section, "cls")};
    file.ids_after = {read_token_pair(section, "sep")};
  } else {
    section.check_type("TemplateProcessing");
    read_template(section, file);
  }
}

WordPieceFile::Decoder read_decoder(const Section& section) {
  section.check_type("WordPiece");
  return {section.get<std::string>("prefix", "##"), section.get<bool>("cleanup", true)};
}

}  // namespace

WordPieceFile read_wordpiece_file(const Json& json, const std::filesystem::path& path) {
  const Section root(json, path.string() + ": tokenizer");
  WordPieceFile file;
  read_model(root.child("model"), file);
  if (!root.is_null("normalizer")) file.normalizer = read_normalizer(root.child("normalizer"));
  if (!root.is_null("pre_tokenizer")) {
    root.child("pre_tokenizer").check_type("BertPreTokenizer");
    file.splits_words = true;
  }
  for (const Section& section : root.elements("added_tokens")) {
    file.added_tokens.push_back(read_added_token(section, file));
  }
  if (!root.is_null("post_processor")) read_post_processor(root.child("post_processor"), file);
  if (!root.is_null("decoder")) file.decoder = read_decoder(root.child("decoder"));
  return file;
}

}  // namespace zoetrope::model
