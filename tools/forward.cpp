// forward: one component, tensors in, tensors out; or a tokenizer, lines in, ids out.
// The same loader, module and attention as everywhere else, so that what is compared is what runs.
#include <chrono>
#include <fstream>
#include <iostream>

#include <ATen/Parallel.h>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/options.h"
#include "launch/run_main.h"
#include "model/component.h"
#include "model/device.h"
#include "model/tokenizer.h"
#include "model/weights.h"

namespace po = boost::program_options;

namespace zoetrope {
namespace {

constexpr const char* kUsage =
    "forward --model DIR --inputs in.safetensors --output out.safetensors [--dtype fp32|bf16] "
    "[--gradients]\n"
    "forward --tokenizer DIR --text lines.txt --output ids.jsonl";
constexpr const char* kExamples =
    "  forward --model minilm --inputs in.safetensors --output out.safetensors\n"
    "  forward --tokenizer minilm --text captions.txt --output ids.jsonl\n"
    "Tensors are named as in the Python classes:\n"
    "  WanTransformer3DModel  hidden_states, timestep, encoder_hidden_states -> sample; with .0, "
    ".1, "
    "... appended: packed\n"
    "  AutoencoderKLWan       sample and/or latent -> latent_mean, latent_logvar, decoded\n"
    "  BertModel              input_ids, attention_mask -> last_hidden_state\n"
    "--gradients reads cotangent (shaped as the first output) and adds grad.NAME for every "
    "floating "
    "input and parameter.\n";

po::options_description own_options() {
  po::options_description own("Options of forward");
  auto add = own.add_options();
  add("model", po::value<std::string>(), "a component: folder or NAME");
  add("inputs", po::value<std::string>(), "safetensors file with the inputs");
  add("output", po::value<std::string>(), "file to write");
  add("dtype", po::value<std::string>()->default_value("fp32"), "of matrix products: fp32 or bf16");
  add("gradients", po::bool_switch(), "gradients of sum(output * cotangent) too");
  add("tokenizer", po::value<std::string>(), "folder with a tokenizer.json, the file, or NAME");
  add("text", po::value<std::string>(), "lines of UTF-8");
  return own;
}

std::string need_flag(const po::variables_map& values, const char* name) {
  ZOETROPE_CHECK_CONFIG(values.count(name) > 0, "--", name, " is missing; see --help");
  return values[name].as<std::string>();
}

void refuse_flags(const po::variables_map& values, std::initializer_list<const char*> names,
                  const char* mode) {
  for (const char* name : names) {
    ZOETROPE_CHECK_CONFIG(values.count(name) == 0, "--", name, " does not go with --", mode);
  }
}

at::ScalarType parse_dtype(const std::string& name) {
  ZOETROPE_CHECK_CONFIG(name == "fp32" || name == "bf16", "--dtype ", name,
                        ": expected fp32 or bf16");
  return name == "bf16" ? at::kBFloat16 : at::kFloat;
}

Json tokenize(const po::variables_map& values) {
  refuse_flags(values, {"model", "inputs"}, "tokenizer");
  const std::string name = need_flag(values, "tokenizer"), text = need_flag(values, "text");
  const std::filesystem::path output = need_flag(values, "output");
  const bool is_file = std::filesystem::is_regular_file(name);
  const auto tokenizer =
      model::load_tokenizer(is_file ? std::filesystem::path(name) : find_weights(name));
  std::ifstream lines(text, std::ios::binary);
  ZOETROPE_CHECK_CONFIG(lines.is_open() && !std::filesystem::is_directory(text), "cannot read ",
                        text);
  std::int64_t num_lines = 0, num_tokens = 0;
  publish_file(output, [&](const std::filesystem::path& path) {
    std::ofstream out(path, std::ios::binary);
    for (std::string line; std::getline(lines, line); ++num_lines) {
      const auto ids = tokenizer->encode(line);
      num_tokens += static_cast<std::int64_t>(ids.size());
      Json record;
      record["ids"] = ids;
      record["decoded"] = tokenizer->decode(ids);
      out << record.dump() << "\n";
    }
    out.flush();
    ZOETROPE_CHECK(out.good(), "cannot write ", path.string());
  });
  return Json{{"lines", num_lines}, {"tokens", num_tokens}};
}

Json run_model(const po::variables_map& values, at::Device device) {
  refuse_flags(values, {"text"}, "model");
  const std::filesystem::path folder = find_weights(need_flag(values, "model"));
  const std::string inputs = need_flag(values, "inputs"), output = need_flag(values, "output");
  const at::ScalarType dtype = parse_dtype(values["dtype"].as<std::string>());
  const auto component = model::load_component(folder, device, dtype);
  const model::TensorMap tensors = model::load_tensors(inputs);
  const auto start = std::chrono::steady_clock::now();
  model::TensorMap results =
      model::run_component(*component, tensors, device, values["gradients"].as<bool>());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  for (auto& [name, tensor] : results) tensor = tensor.cpu().contiguous();
  model::save_tensors(output, results);
  return Json{{"component", model::component_kind(folder)},
              {"parameters", component->module().num_parameters()},
              {"tensors_in", tensors.size()},
              {"tensors_out", results.size()},
              {"seconds", elapsed.count()}};
}

int run(int argc, char** argv) {
  CommonOptions common;
  po::variables_map values;
  if (!parse_options(argc, argv, kUsage, kExamples, own_options(), "", common, values)) {
    return kExitOk;
  }
  const at::Device device = model::select_device(common.device, launch::local_rank().index);
  at::set_num_threads(launch::threads_per_rank());
  const bool is_text = values.count("tokenizer") > 0;
  const Json counts = is_text ? tokenize(values) : run_model(values, device);
  std::cout << counts.dump() << "\n";
  return kExitOk;
}

}  // namespace
}  // namespace zoetrope

int main(int argc, char** argv) {
  return zoetrope::launch::run_main(argc, argv, zoetrope::run);
}
