// See report.h.
#include "data/report.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "data/video_writer.h"

namespace fs = std::filesystem;

namespace zoetrope::data {
namespace {

constexpr const char* kStyle = R"(
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2rem }
table { border-collapse: collapse; margin: 1rem 0 }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem }
th, td { border-bottom: 1px solid #8886; padding: .25rem .8rem }
th, td { text-align: left; vertical-align: top }
.number { text-align: right; font-variant-numeric: tabular-nums }
pre { background: #8882; padding: .6rem; overflow-x: auto }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }
figure { margin: 0; max-width: 100% } figcaption { font-size: .85rem; max-width: 20rem }
img { max-width: 100%; height: auto }
video { width: 12rem; image-rendering: pixelated; background: #8882 }
)";

std::string encode_base64(const std::string& bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    unsigned group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    }
    for (int shift = 18; shift >= 0; shift -= 6) text += kDigits[group >> shift & 63];
  }
  for (std::size_t missing = (3 - bytes.size() % 3) % 3, i = 1; i <= missing; ++i) {
    text[text.size() - i] = '=';
  }
  return text;
}

// A relative path as a URL: every byte but letters, digits and -._~/ is percent-encoded. The
// leading
// "./" keeps a colon in the first folder's name from reading as a scheme.
std::string url_of(const fs::path& path) {
  std::string url = "./";
  for (const unsigned char byte : path.generic_string()) {
    if (std::isalnum(byte) ||
        std::string("-._~/").find(static_cast<char>(byte)) != std::string::npos) {
      url += static_cast<char>(byte);
      continue;
    }
    char code[4];
    std::snprintf(code, sizeof(code), "%%%02X", byte);
    url += code;
  }
  return url;
}

bool is_number(const std::string& cell) {
  const std::string digits = cell.substr(0, cell.find_last_not_of(" %") + 1);
  char* end = nullptr;
  std::strtod(digits.c_str(), &end);
  return !digits.empty() && *end == '\0';
}

// Pictures pass through a file beside the report: the one PNG writer there is writes files.
std::string png_bytes(const fs::path& report, const Frames& picture) {
  ZOETROPE_CHECK(picture.num_frames >= 1, "a report's picture has no frame");
  struct TemporaryFile {
    fs::path path;
    ~TemporaryFile() {
      std::error_code ignored;
      fs::remove(path, ignored);
    }
  } const file{report.string() + ".picture.png"};
  write_png(file.path, picture.frame(0), picture.height, picture.width);
  return read_file(file.path);
}

// Writes one block each.
class HtmlWriter {
 public:
  explicit HtmlWriter(fs::path path) : path_(std::move(path)) {}

  void operator()(const ReportText& block) {
    end_row();
    html_ += "<p>";
    for (std::size_t from = 0; from <= block.text.size();) {
      const std::size_t gap = std::min(block.text.find("\n\n", from), block.text.size());
      html_ += (from > 0 ? "</p>\n<p>" : "") + escape_html(block.text.substr(from, gap - from));
      from = gap + 2;
    }
    html_ += "</p>\n";
  }

  void operator()(const ReportCommands& block) {
    end_row();
    html_ += "<pre><code>";
    for (const std::string& line : block.lines) html_ += escape_html(line) + "\n";
    html_ += "</code></pre>\n";
  }

  void operator()(const ReportTable& block) {
    end_row();
    html_ += "<table>\n";
    if (!block.caption.empty()) html_ += "<caption>" + escape_html(block.caption) + "</caption>\n";
    html_ += "<thead>";
    add_cells("th", block.columns);
    html_ += "</thead>\n<tbody>\n";
    for (const auto& row : block.rows) {
      ZOETROPE_CHECK(row.size() == block.columns.size(), "report table \"", block.caption,
                     "\" has ", block.columns.size(), " columns, but a row of ", row.size(),
                     " cells");
      add_cells("td", row);
    }
    html_ += "</tbody></table>\n";
  }

  void operator()(const ReportImage& block) {
    begin_row();
    html_ += "<figure><img alt=\"" + escape_html(block.caption) +
             "\" src=\"data:image/png;base64," + encode_base64(png_bytes(path_, block.picture)) +
             "\">";
    add_caption(block.caption);
  }

  void operator()(const ReportVideo& block) {
    begin_row();
    ZOETROPE_CHECK(fs::is_regular_file(block.file), "report video ", block.file.string(),
                   " is missing");
    const fs::path beside = fs::absolute(path_).parent_path();
    const std::string url = escape_html(url_of(fs::proximate(fs::absolute(block.file), beside)));
    html_ += "<figure><video controls loop muted playsinline src=\"" + url + "\"></video>";
    add_caption(block.caption);
  }

  void add_section(const ReportSection& section) {
    html_ += "<section>\n<h2>" + escape_html(section.title) + "</h2>\n";
    for (const ReportBlock& block : section.blocks) std::visit(*this, block);
    end_row();
    html_ += "</section>\n";
  }

  const std::string& html() const { return html_; }

 private:
  void add_cells(const std::string& tag, const std::vector<std::string>& cells) {
    html_ += "<tr>";
    for (const std::string& cell : cells) {
      const bool number = tag == "td" && is_number(cell);
      html_ +=
          "<" + tag + (number ? " class=\"number\">" : ">") + escape_html(cell) + "</" + tag + ">";
    }
    html_ += "</tr>\n";
  }

  void add_caption(const std::string& caption) {
    if (!caption.empty()) html_ += "<figcaption>" + escape_html(caption) + "</figcaption>";
    html_ += "</figure>\n";
  }

  void begin_row() {
    if (!in_row_) html_ += "<div class=\"row\">\n";
    in_row_ = true;
  }

  void end_row() {
    if (in_row_) html_ += "</div>\n";
    in_row_ = false;
  }

  fs::path path_;
  std::string html_;
  bool in_row_ = false;
};

}  // namespace

std::string escape_html(const std::string& text) {
  std::string out;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

void write_report(const fs::path& path, const Report& report) {
  HtmlWriter writer(path);
  for (const ReportSection& section : report.sections) writer.add_section(section);
  const std::string title = escape_html(report.title);
  write_file_atomically(path,
                        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                        "<meta name=\"viewport\" content=\"width=device-width\">\n<title>" +
                            title + "</title>\n<style>" + kStyle +
                            "</style>\n</head>\n<body>\n<h1>" + title + "</h1>\n" + writer.html() +
                            "</body>\n</html>\n");
}

}  // namespace zoetrope::data
