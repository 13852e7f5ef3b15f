// PNG in and out of 8-bit RGB: write_png and read_png of video_writer.h, with libpng's simplified
// interface.

#include <cstring>

#include <png.h>

#include "base/error.h"
#include "base/files.h"
#include "data/video_writer.h"

namespace zoetrope::data {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t kMaxPixels = std::int64_t{1}
                                    << 28;  // a few bytes can claim a picture of terabytes

// Frees libpng's half-read state when reading stops early.
class PngImage {
 public:
  PngImage() {
    std::memset(&image_, 0, sizeof(image_));
    image_.version = PNG_IMAGE_VERSION;
  }
  ~PngImage() { png_image_free(&image_); }
  PngImage(const PngImage&) = delete;
  PngImage& operator=(const PngImage&) = delete;
  png_image* operator->() { return &image_; }
  png_image* get() { return &image_; }

 private:
  png_image image_;
};

}  // namespace

void write_png(const fs::path& path, const std::uint8_t* rgb, int height, int width) {
  ZOETROPE_CHECK(height > 0 && width > 0, path.string(), ": no picture of ", width, "x", height);
  PngImage image;
  image->width = static_cast<png_uint_32>(width);
  image->height = static_cast<png_uint_32>(height);
  image->format = PNG_FORMAT_RGB;
  png_alloc_size_t num_bytes = PNG_IMAGE_PNG_SIZE_MAX(*image.get());
  std::string bytes(num_bytes, '\0');
  const int written =
      png_image_write_to_memory(image.get(), bytes.data(), &num_bytes, 0, rgb, 0, nullptr);
  ZOETROPE_CHECK(written != 0, path.string(), ": ", image->message);
  bytes.resize(num_bytes);
  write_file_atomically(path, bytes);
}

Frames read_png(const fs::path& path) {
  const std::string bytes = read_file(path);
  PngImage image;
  ZOETROPE_CHECK_DATA(
      png_image_begin_read_from_memory(image.get(), bytes.data(), bytes.size()) != 0, path.string(),
      ": not a PNG: ", image->message);
  const std::int64_t pixels = std::int64_t{image->width} * image->height;
  ZOETROPE_CHECK_DATA(pixels <= kMaxPixels, path.string(), ": ", image->width, "x", image->height,
                      " is beyond ", kMaxPixels, " pixels");
  image->format = PNG_FORMAT_RGB;
  image->flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  Frames frames;
  frames.num_frames = 1;
  frames.width = static_cast<int>(image->width);
  frames.height = static_cast<int>(image->height);
  frames.pts_s = {0};
  frames.rgb.resize(frames.frame_bytes());
  const png_color black = {0, 0, 0};
  ZOETROPE_CHECK_DATA(
      png_image_finish_read(image.get(), &black, frames.rgb.data(), 0, nullptr) != 0, path.string(),
      ": broken PNG: ", image->message);
  return frames;
}

}  // namespace zoetrope::data
