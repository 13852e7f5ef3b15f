// Text -> token ids, from a Hugging Face tokenizer.json. WordPiece (BERT) today. No torch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace zoetrope::model {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Ids with the special tokens of the file's post-processor ([CLS] ... [SEP]). Bad UTF-8 becomes
  // U+FFFD. No truncation and no padding, whatever the file says.
  virtual std::vector<std::int64_t> encode(const std::string& text) const = 0;
  // Text without special tokens; other added tokens stay.
  virtual std::string decode(const std::vector<std::int64_t>& ids) const = 0;
};

// FOLDER/tokenizer.json or the file itself. A kind that is not supported throws ConfigError naming
// it.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& path);

}  // namespace zoetrope::model
