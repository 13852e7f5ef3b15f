// Frozen text encoders: captions -> hidden states of their true length.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "model/module.h"
#include "model/tokenizer.h"

namespace zoetrope::model {

class TextEncoder : public Module {
 public:
  // ids [B, L] int64, mask [B, L] (1 = token) -> last_hidden_state [B, L, D] fp32.
  virtual at::Tensor forward(const at::Tensor& ids_BL, const at::Tensor& mask_BL) = 0;
  virtual std::int64_t width() const = 0;
  virtual std::int64_t max_length() const = 0;  // tokens, special ones included
};

// By config.json's architectures[0]: BertModel (MiniLM).
std::unique_ptr<TextEncoder> load_text_encoder(const std::filesystem::path& folder,
                                               at::Device device);

// Encoder and tokenizer together. A text over max_length is cut, with a warning, keeping its last
// token.
class TextPipeline {
 public:
  TextPipeline(const std::filesystem::path& folder, at::Device device);
  // One [length, D] fp32 tensor a text, on the CPU.
  std::vector<at::Tensor> encode(const std::vector<std::string>& texts);
  std::int64_t width() const { return encoder_->width(); }
  const std::string& hash() const { return hash_; }  // of weights and tokenizer: cache key

 private:
  std::unique_ptr<TextEncoder> encoder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string hash_;
};

}  // namespace zoetrope::model
