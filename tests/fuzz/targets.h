// What is fuzzed: everything that reads bytes which the user did not write. A target takes any
// bytes; an error of ours (base/error.h) is a good answer, everything else that is thrown, every
// crash and every finding of a sanitizer is not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace zoetrope::fuzz {

using Bytes = std::span<const std::uint8_t>;

void try_video(Bytes bytes);        // demux, decode, convert, as the decoder process does
void try_safetensors(Bytes bytes);  // a file of weights
void try_shard(Bytes bytes);        // an HDF5 shard of a corpus
void try_list(Bytes bytes);         // the first byte chooses .csv, .jsonl, .json, .txt, a manifest
void try_yaml(Bytes bytes);         // a config
void try_tokenizer(Bytes bytes);    // the first byte chooses a text or a tokenizer.json

// The bytes as a file: NAME in a folder of this process, which goes with the process.
std::filesystem::path as_file(Bytes bytes, const std::string& name);

}  // namespace zoetrope::fuzz
