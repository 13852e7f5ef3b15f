// BERT as a text encoder (arXiv:1810.04805): transformers' BertModel up to last_hidden_state.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "model/text_encoder.h"

namespace zoetrope::model {

// The fields of config.json that shape the maths.
struct BertConfig {
  std::int64_t vocab_size = 30522;
  std::int64_t hidden_size = 768;
  std::int64_t num_hidden_layers = 12;
  std::int64_t num_attention_heads = 12;
  std::int64_t intermediate_size = 3072;
  std::int64_t max_position_embeddings = 512;
  std::int64_t type_vocab_size = 2;
  std::int64_t pad_token_id = 0;  // -1: none. Its embedding gets no gradient
  double layer_norm_eps = 1e-12;
  std::string hidden_act =
      "gelu";  // "gelu" (erf), "gelu_new" and "gelu_pytorch_tanh" (tanh), "relu"
};

// `origin` is named in errors. A value that is not supported throws ConfigError.
BertConfig bert_config_from_json(const Json& json, const std::string& origin);

class Bert : public TextEncoder {
 public:
  // Parameters uninitialised, in fp32; to() sets the dtype that forward computes in.
  Bert(const BertConfig& config, at::Device device);

  // Ids out of the vocabulary and texts over max_length() throw ConfigError with the numbers.
  at::Tensor forward(const at::Tensor& ids_BL, const at::Tensor& mask_BL) override;
  std::int64_t width() const override { return config_.hidden_size; }
  std::int64_t max_length() const override { return config_.max_position_embeddings; }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visit) override;

 private:
  struct Norm {
    at::Tensor weight, bias;
    void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
  };
  struct Layer {
    Linear query, key, value, attention_out, up, down;
    Norm attention_norm, output_norm;
    void visit_parameters(const std::string& prefix, const ParameterVisitor& visit);
  };

  Norm make_norm(at::Device device) const;
  at::Tensor normalise(const Norm& norm, const at::Tensor& x) const;
  at::Tensor embed(const at::Tensor& ids_BL) const;
  at::Tensor attend(const Layer& layer, const at::Tensor& x_BLD, const at::Tensor& bias_B11L) const;
  at::Tensor activate(const at::Tensor& x) const;

  BertConfig config_;
  at::Tensor word_embeddings_, position_embeddings_, type_embeddings_;
  Norm embedding_norm_;
  std::vector<Layer> layers_;
};

}  // namespace zoetrope::model
