// The flags by which programs say how the VAE runs: --vae-chunk, --vae-tile, --vae-overlap,
// --vae-dtype.
#pragma once

#include <boost/program_options.hpp>

#include "model/vae_stream.h"

namespace zoetrope::train {

void add_vae_options(boost::program_options::options_description& options);
// ConfigError for values out of range; what depends on the VAE's stride is checked where it runs.
model::VaeRunConfig read_vae_options(const boost::program_options::variables_map& values);

}  // namespace zoetrope::train
