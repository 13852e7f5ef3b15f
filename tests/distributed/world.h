// The ranks that a distributed test runs on.
#pragma once

#include "launch/communicator.h"

namespace zoetrope {

launch::Communicator& world();

}  // namespace zoetrope
