// Clips that look alike: copies in another size, quality or file.
#pragma once

#include <vector>

#include "data/clip_record.h"

namespace zoetrope::data {

// Sets duplicate_of, in clips sorted by id: a clip whose look differs in at most kNearDuplicateBits
// from that of an earlier one, which is none itself, is a duplicate of the first such. Clips
// without a look are left alone. The answer depends on the set of clips alone. Time grows with the
// square of the clips that share 16 bits of their look, not of all.
void mark_near_duplicates(std::vector<ClipRecord>& clips);

}  // namespace zoetrope::data
