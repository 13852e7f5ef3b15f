// Frames -> mp4, PNG and contact sheets. Every file is published atomically.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "data/frames.h"

namespace zoetrope::data {

struct VideoOptions {
  double fps = 16;
  int crf = 16;       // x264 quality, 0 (lossless) .. 51; MPEG-4 Part 2 when FFmpeg has no x264
  int threads = 1;    // one thread and bitexact flags: the same frames give the same bytes
  std::string codec;  // FFmpeg's encoder name; empty: libx264, else mpeg4 with a warning
  std::map<std::string, std::string> metadata;  // container tags, e.g. comment
};

// Odd sizes are refused (yuv420p); BT.709 limited range, tagged as such.
void write_mp4(const std::filesystem::path& path, const Frames& frames,
               const VideoOptions& options);

void write_png(const std::filesystem::path& path, const std::uint8_t* rgb, int height, int width);
// 8-bit RGB whatever the file holds; transparent parts lie on black. Throws DataError for a broken
// file.
Frames read_png(const std::filesystem::path& path);

// mp4 for several frames, PNG for one. `path` gets the fitting extension when it has none.
std::filesystem::path write_clip(const std::filesystem::path& path, const Frames& frames,
                                 const VideoOptions& options);

// One row a clip, `columns` frames spread over its length, a caption line under each row (ASCII,
// drawn with a built-in 5x7 font). Cells are scaled to at most cell_px on the longer side, aspect
// kept.
struct SheetRow {
  const Frames* frames = nullptr;
  std::string caption;
};
Frames contact_sheet(const std::vector<SheetRow>& rows, int columns = 6, int cell_px = 96);

}  // namespace zoetrope::data
