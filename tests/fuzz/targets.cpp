// See targets.h.

#include "tests/fuzz/targets.h"

#include <cstdlib>
#include <fstream>
#include <numeric>
#include <stdexcept>

#include "base/config.h"
#include "base/error.h"
#include "base/json.h"
#include "base/safetensors.h"
#include "data/clip_filter.h"
#include "data/clip_record.h"
#include "data/ffmpeg.h"
#include "data/list_file.h"
#include "data/planner.h"
#include "data/shard.h"
#include "data/video_decode.h"
#include "model/tokenizer.h"

namespace zoetrope::fuzz {

namespace fs = std::filesystem;

namespace {

class OwnFolder {
 public:
  OwnFolder() {
    std::string name = (fs::temp_directory_path() / "zoetrope_fuzz_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + name);
    path_ = name;
  }
  ~OwnFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// One of `count`, by the first byte, which is taken away.
std::size_t choose(Bytes& bytes, std::size_t count) {
  if (bytes.empty()) return 0;
  const std::size_t chosen = bytes.front() % count;
  bytes = bytes.subspan(1);
  return chosen;
}

void expect(bool held, const char* promise) {
  if (!held) throw std::logic_error(promise);
}

// All kinds of fields that a config can have.
struct AnyConfig {
  data::PlannerConfig planner;
  data::ClipFilter filter;
  std::vector<std::string> words;
  std::vector<std::vector<std::int64_t>> table;
  template <class Visitor>
  void visit_fields(Visitor& visit) {
    visit("planner", planner, "");
    visit("filter", filter, "");
    visit("words", words, "");
    visit("table", table, "");
  }
};

}  // namespace

fs::path as_file(Bytes bytes, const std::string& name) {
  static const OwnFolder folder;
  std::ofstream out(folder.path() / name, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  return folder.path() / name;
}

void try_video(Bytes bytes) {
  av_log_set_level(AV_LOG_QUIET);
  av_max_alloc(std::size_t{256} << 20);
  data::DecodeRequest request;
  request.max_frames = 4;
  request.max_pixels = 1024;
  request.tone_map_hdr = true;
  if (bytes.size() % 2 == 1) request.fps = 8;
  if (bytes.size() % 3 == 1) request.start_s = 0.2;
  try {
    data::decode_video(
        {as_file(bytes, "any.mp4"), 0, 0, false}, request, [](const data::RgbPicture& picture) {
          expect(picture.rgb.size() == std::size_t{3} * picture.width * picture.height,
                 "pictures have their size");
          return true;
        });
  } catch (const Error&) {
  } catch (const std::bad_alloc&) {  // the decoder process answers out_of_memory
  }
}

void try_safetensors(Bytes bytes) {
  try {
    const SafetensorsFile file(as_file(bytes, "any.safetensors"));
    for (const auto& [name, tensor] : file.tensors()) {
      expect(tensor.bytes.size() ==
                 dtype_bytes(tensor.dtype) * static_cast<std::size_t>(tensor.num_elements()),
             "tensors have their size");
      unsigned sum = 0;
      for (const std::byte byte : tensor.bytes) sum += static_cast<unsigned>(byte);
      expect(sum <= 255 * tensor.bytes.size(), "bytes can be read");
    }
  } catch (const Error&) {
  }
}

void try_shard(Bytes bytes) {
  try {
    const data::ShardReader reader(as_file(bytes, "any.h5"));
    for (const std::string& id : reader.ids()) {
      if (reader.num_dims(id) == 2) {
        const data::TextRecord text = reader.text(id);
        expect(text.values.size() == std::size_t(text.length) * text.width,
               "texts have their size");
      } else {
        const data::LatentRecord latent = reader.latent(id);
        expect(latent.values.size() ==
                   std::size_t(latent.channels) * latent.frames * latent.height * latent.width,
               "latents have their size");
      }
    }
  } catch (const Error&) {
  }
}

void try_list(Bytes bytes) {
  constexpr const char* kNames[] = {"any.csv", "any.jsonl", "any.json", "any.txt",
                                    "manifest.jsonl"};
  const std::size_t kind = choose(bytes, std::size(kNames));
  const fs::path path = as_file(bytes, kNames[kind]);
  try {
    if (kind < 4) {
      for (const data::SourceItem& item : data::read_list_file(path))
        expect(!item.path.empty(), "items have paths");
    } else {
      for_each_json_line(path, [&](const Json& line, int number) {
        const data::ClipRecord clip =
            data::clip_from_json(line, concat(path.string(), ":", number));
        const Json again = data::to_json(clip);
        expect(data::to_json(data::clip_from_json(again, "again")) == again,
               "records survive their own lines");
      });
    }
  } catch (const Error&) {
  }
}

void try_yaml(Bytes bytes) {
  try {
    const auto config = read_config<AnyConfig>(ConfigNode::from_text(text_of(bytes), "any.yaml"));
    const std::string printed = print_config(config);
    const auto again = read_config<AnyConfig>(ConfigNode::from_text(printed, "printed.yaml"));
    expect(print_config(again) == printed, "configs survive printing");
  } catch (const Error&) {
  }
}

void try_tokenizer(Bytes bytes) {
  static const auto known =
      model::load_tokenizer(fs::path(ZOETROPE_TEST_FOLDER) / "golden/text/tokenizer_uncased");
  try {
    if (choose(bytes, 2) == 0) {
      known->decode(known->encode(text_of(bytes)));
    } else {
      const auto any = model::load_tokenizer(as_file(bytes, "tokenizer.json"));
      any->decode(any->encode("They've seen the caf\xc3\xa9, \xe4\xba\xac; \xff bad bytes [SEP]."));
    }
  } catch (const Error&) {
  }
}

}  // namespace zoetrope::fuzz
