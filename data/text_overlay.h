// How much of a clip lies under text that was put over it: subtitles, titles, marks of stations.
#pragma once

#include <vector>

#include "data/small_luma.h"

namespace zoetrope::data {

// Share of the picture's area in boxes around lines of text, 0 to 1. A line is a row of thin
// strokes side by side, of one shade against what is beside them, which the pictures of the clip
// all show in the same place. `pictures` are of one size. Cheap and blind to script: a still fence
// or a text that is filmed counts, too; text below 5 pixels or that moves is not seen.
double text_share(const std::vector<LumaPicture>& pictures);

}  // namespace zoetrope::data
